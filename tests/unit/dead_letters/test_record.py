"""A rejected record as a dead letter."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import ERROR_HEADER_PREFIX, ORIGINAL_TOPIC_HEADER, DeadLetterReason, Headers, Stage
from docsluice_consumer.dead_letters.record import ANSWER_BYTES, MESSAGE_BYTES, STACKTRACE_BYTES, Failure, dead_letter
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from docsluice_consumer.model_ref import model_ref
from docsluice_producer.dead_letters.redriving import redriven_headers
from tests.fakes.samples import record

FAILED_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
REJECTION = RecordRejected(DeadLetterReason.REFUSED, "no", step="summary", model=model_ref("m"))
TABLE = {
    *("topic", "partition", "offset", "timestamp", "group", "stage", "step", "reason"),
    *("exception.class.name", "exception.message", "exception.stacktrace"),
    *(
        "attempts",
        "first_failed_at",
        "last_failed_at",
        "replay_count",
        "cost_usd",
        "pipeline_version",
        "model",
        "provider",
    ),
}
ORIGIN = ("topic", "partition", "offset", "timestamp", "first_failed_at", "replay_count")


def _failure(error: BaseException = REJECTION, **changes: Any) -> Failure:
    fields: dict[str, Any] = {
        "error": error,
        "attempts": 2,
        "cost_usd": Decimal("0.5"),
        "first_failed_at": FAILED_AT,
        "failed_at": FAILED_AT + timedelta(seconds=1),
        "group_id": "docsluice",
        "pipeline_version": "v1",
    }
    return Failure(**fields | changes)


def _dead_letter(original: Record, **changes: Any) -> OutgoingRecord:
    return dead_letter(original, _failure(**changes), topic="dlq")


def _errors(outgoing: OutgoingRecord) -> dict[str, str]:
    """Our own headers without their prefix. Each occurs once."""
    ours = [(name, value) for name, value in outgoing.headers if name.startswith(ERROR_HEADER_PREFIX)]
    assert len(ours) == len({name for name, _ in ours})
    return {name.removeprefix(ERROR_HEADER_PREFIX): (value or b"").decode() for name, value in ours}


def _redriven(outgoing: OutgoingRecord, *, replay_count: int = 1, **changes: Any) -> Record:
    """What the source reads when our own redrive has sent a dead letter back to the input topic."""
    headers = redriven_headers(outgoing.headers, replays=replay_count)
    return record(outgoing.value, key=outgoing.key, headers=headers, **changes)


def test_every_header_of_the_table_is_there() -> None:
    """All that a person, or a redrive, wants to know, under the agreed names."""
    outgoing = _dead_letter(record(b"v"))
    assert set(_errors(outgoing)) == TABLE
    assert (ORIGINAL_TOPIC_HEADER, b"documents") in outgoing.headers
    assert outgoing.topic == "dlq"


def test_the_headers_say_what_happened() -> None:
    """Where it was read, why it failed, when, after how many attempts and at what cost."""
    errors = _errors(_dead_letter(record(b"v")))
    errors.pop("exception.stacktrace")
    assert errors == {
        "topic": "documents",
        "partition": "3",
        "offset": "42",
        "timestamp": "1700000000123",
        "group": "docsluice",
        "stage": "analyze",
        "step": "summary",
        "reason": "refused",
        "exception.class.name": "consumer.errors.RecordRejected",
        "exception.message": "no",
        "attempts": "2",
        "first_failed_at": "2026-03-04T05:06:07.000Z",
        "last_failed_at": "2026-03-04T05:06:08.000Z",
        "replay_count": "0",
        "cost_usd": "0.5",
        "pipeline_version": "v1",
        "model": "m",
        "provider": "default",
    }


def test_what_is_not_known_has_no_header() -> None:
    """A record that never came to a step has neither step nor model."""
    rejection = RecordRejected(DeadLetterReason.UNDECODABLE, "not JSON", stage=Stage.DECODE)
    errors = _errors(_dead_letter(record(b"v"), error=rejection))
    assert set(errors) == TABLE - {"step", "model", "provider"}
    assert (errors["stage"], errors["reason"]) == ("decode", "undecodable")


def test_a_bug_of_ours_is_unexpected() -> None:
    """Any other exception is a dead letter too, with its class and trace for the person who fixes it."""
    try:
        json.loads(1)  # type: ignore[arg-type]
    except TypeError as bug:
        errors = _errors(_dead_letter(record(b"v"), error=bug))
    assert errors["reason"] == "unexpected"
    assert errors["stage"] == "analyze"
    assert errors["exception.class.name"] == "builtins.TypeError"
    assert "json.loads(1)" in errors["exception.stacktrace"]


HEADER_NAMES = st.sampled_from(["traceparent", "tracestate", "content-type", "x", "X", "ce_id"]) | st.text()
HEADERS = st.lists(st.tuples(HEADER_NAMES, st.none() | st.binary(max_size=30)), max_size=8)


@given(
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=HEADERS,
    message=st.text(st.characters()),
)
def test_the_original_is_untouched(key: bytes | None, value: bytes | None, headers: Headers, message: str) -> None:
    """Key, value and headers are those that were read: byte for byte, in order, repeated names included."""
    original = record(value, key=key, headers=headers)
    outgoing = _dead_letter(original, error=RecordRejected(DeadLetterReason.UNEXPECTED, message))
    assert (outgoing.key, outgoing.value) == (key, value)
    assert list(outgoing.headers[: len(headers)]) == list(headers)
    added = outgoing.headers[len(headers) :]
    assert all(name.startswith(ERROR_HEADER_PREFIX) or name == ORIGINAL_TOPIC_HEADER for name, _ in added)
    assert all(isinstance(value, bytes) for _, value in added)


def test_the_trace_context_is_kept() -> None:
    """A trace leads to the dead letter at its end."""
    trace = [("traceparent", b"00-1-2-01"), ("tracestate", b"a=b")]
    outgoing = _dead_letter(record(b"v", headers=trace))
    assert [header for header in outgoing.headers if header[0].startswith("trace")] == trace


def test_a_redriven_record_keeps_its_first_origin() -> None:
    """What fails again still says where it came from first. All else is of the latest failure."""
    first = _dead_letter(record(b"v", headers=[("own", b"1"), ("own", b"2")]))
    redriven = _redriven(first, offset=77, timestamp_ms=1_800_000_000_000)
    again = _dead_letter(
        redriven,
        error=RecordRejected(DeadLetterReason.INVALID_ANSWER, "the second", step="keywords", model=model_ref("m2")),
        attempts=5,
        first_failed_at=FAILED_AT + timedelta(days=1),
        failed_at=FAILED_AT + timedelta(days=2),
        pipeline_version="v2",
    )
    before, after = _errors(first), _errors(again)
    assert {name: after[name] for name in ORIGIN} == {name: before[name] for name in ORIGIN} | {"replay_count": "1"}
    assert after["reason"] == "invalid_answer"
    assert after["step"] == "keywords"
    assert after["model"] == "m2"
    assert after["exception.message"] == "the second"
    assert after["attempts"] == "5"
    assert after["last_failed_at"] == "2026-03-06T05:06:07.000Z"
    assert after["pipeline_version"] == "v2"
    assert [header for header in again.headers if header[0] == "own"] == [("own", b"1"), ("own", b"2")]
    assert [value for name, value in again.headers if name == ORIGINAL_TOPIC_HEADER] == [b"documents"]


@pytest.mark.parametrize(
    ("earlier", "written"),
    [(b"0", "1"), (b"6", "7"), (None, "1"), (b"", "1"), (b"-1", "1"), (b"many", "1"), (b"9" * 400, "1")],
)
def test_a_dead_letter_that_another_tool_sent_back_is_counted_here(earlier: bytes | None, written: str) -> None:
    """Such a tool copies the record as it is, reason and all: without a count, its runs could not be told apart."""
    headers = [(ERROR_HEADER_PREFIX + "reason", b"refused"), (ERROR_HEADER_PREFIX + "topic", b"elsewhere")]
    headers += [] if earlier is None else [(ERROR_HEADER_PREFIX + "replay_count", earlier)]
    errors = _errors(_dead_letter(record(b"v", headers=headers)))
    assert (errors["replay_count"], errors["topic"]) == (written, "elsewhere")


def test_a_dead_letter_copied_again_and_again_counts_on() -> None:
    """Three times through another tool are three replays."""
    outgoing = _dead_letter(record(b"v"))
    for _ in range(3):
        outgoing = _dead_letter(record(outgoing.value, key=outgoing.key, headers=outgoing.headers))
    assert _errors(outgoing)["replay_count"] == "3"


def test_the_previous_failures_headers_are_gone() -> None:
    """A step or model that the latest failure does not know is not left over from the one before."""
    first = _dead_letter(record(b"v"))
    undecodable = RecordRejected(DeadLetterReason.UNDECODABLE, "not JSON", stage=Stage.DECODE)
    after = _errors(_dead_letter(_redriven(first), error=undecodable))
    assert set(after) == TABLE - {"step", "model", "provider"}


def test_costs_add_up_over_redrives() -> None:
    """A document's cost is what all its runs have cost together."""
    outgoing = _dead_letter(record(b"v"))
    for replay in (1, 2):
        outgoing = _dead_letter(_redriven(outgoing, replay_count=replay))
    assert _errors(outgoing)["cost_usd"] == "1.5"


@pytest.mark.parametrize(
    ("earlier", "cost_usd", "written"),
    [
        (None, "1E-9", "0.000000001"),
        (b"0.000000001", "0.00000000100", "0.000000002"),
        (None, "0E-12", "0"),
        (b"0.25", "0.5", "0.75"),
        (b"nonsense", "0.5", "0.5"),
        (b"NaN", "0.5", "0.5"),
        (b"Infinity", "0.5", "0.5"),
        (b"\xff", "0.5", "0.5"),
        (b"1E+999999", "0.5", "0.5"),
        (b"1E-999999", "0.5", "0.5"),
        (b"-7", "0.5", "0.5"),
        (b"", "0.5", "0.5"),
    ],
)
def test_the_cost_is_plain_digits(earlier: bytes | None, cost_usd: str, written: str) -> None:
    """Never an exponent, and never spoilt by a header that somebody else wrote."""
    headers = [] if earlier is None else [(ERROR_HEADER_PREFIX + "cost_usd", earlier)]
    errors = _errors(_dead_letter(record(b"v", headers=headers), cost_usd=Decimal(cost_usd)))
    assert errors["cost_usd"] == written


def _fail_deeply(depth: int, message: str) -> None:
    if depth:
        _fail_deeply(depth - 1, message)
    raise ValueError(message)


@pytest.mark.parametrize("message", ["boom", "ế" * 100_000, "x" * 100_000])
def test_the_stack_trace_is_cut_at_its_beginning(message: str) -> None:
    """Eight KiB at most, whole characters, and the end of it, which is where it went wrong."""
    try:
        _fail_deeply(300, message)
    except ValueError as error:
        outgoing = _dead_letter(record(b"v"), error=error)
    trace = dict(outgoing.headers)[ERROR_HEADER_PREFIX + "exception.stacktrace"] or b""
    assert len(trace) <= STACKTRACE_BYTES
    assert trace.decode().endswith(f"{message[-1]}\n")


def test_the_stack_trace_is_eight_kib_at_most() -> None:
    """The agreed bound."""
    assert STACKTRACE_BYTES == 8 * 1024


@pytest.mark.parametrize("character", ["x", "ế"])
def test_a_long_message_is_cut_at_its_end(character: str) -> None:
    """An error that quotes a whole document must not make its dead letter outgrow the topic."""
    rejection = RecordRejected(DeadLetterReason.INVALID_ANSWER, "It is: " + character * 1_000_000)
    outgoing = _dead_letter(record(b"v"), error=rejection)
    message = dict(outgoing.headers)[ERROR_HEADER_PREFIX + "exception.message"] or b""
    assert len(message) <= MESSAGE_BYTES
    assert message.decode().startswith("It is: " + character)
    added = sum(len(name) + len(value or b"") for name, value in outgoing.headers)
    assert added < MESSAGE_BYTES + STACKTRACE_BYTES + 2048


def _answer_kept(answer: str | None, **changes: Any) -> bytes | None:
    error = RecordRejected(DeadLetterReason.INVALID_ANSWER, "no", step="summary", model=model_ref("m"), answer=answer)
    return dict(_dead_letter(record(b"v"), error=error, **changes).headers).get(ERROR_HEADER_PREFIX + "answer")


@pytest.mark.parametrize("character", ["x", "ế", "🙂"])
def test_the_rejected_answer_is_kept_up_to_a_bound(character: str) -> None:
    """Its beginning, in whole characters. Two KiB at most."""
    assert ANSWER_BYTES == 2 * 1024
    assert _answer_kept(character) == character.encode()
    long = _answer_kept("{" + character * 1_000_000)
    assert long is not None
    assert ANSWER_BYTES - 4 < len(long) <= ANSWER_BYTES
    assert ("{" + character * 3_000).startswith(long.decode())


def test_the_rejected_answer_may_be_left_out() -> None:
    """By setting, and where there is none, or the trouble was another one, there is no header."""
    assert _answer_kept("secret words", keeps_answer=False) is None
    assert _answer_kept(None) is None
    assert _answer_kept("") is None
    assert ERROR_HEADER_PREFIX + "answer" not in dict(_dead_letter(record(b"v"), error=ValueError("x")).headers)


def test_half_an_emoji_in_an_answer_is_replaced() -> None:
    """The header is UTF-8 whatever the model says."""
    assert _answer_kept("a \ud83d b") == b"a ? b"


def test_the_rejected_answer_goes_no_further() -> None:
    """Neither a redrive nor another tool that copies all headers takes it into the next dead letter."""
    error = RecordRejected(DeadLetterReason.INVALID_ANSWER, "no", answer="first words")
    first = _dead_letter(record(b"v"), error=error)
    assert "words" not in str(_redriven(first).headers)
    copied = record(first.value, key=first.key, headers=first.headers)
    assert "words" not in str(_dead_letter(copied).headers)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(ERROR_HEADER_PREFIX + name for name in TABLE)), st.none() | st.binary(max_size=40)
        ),
        max_size=10,
    )
)
def test_headers_that_others_wrote_under_our_names_do_no_harm(headers: Headers) -> None:
    """A record may come with anything under our prefix: its dead letter has each header once, as valid UTF-8."""
    errors = _errors(_dead_letter(record(b"v", headers=headers)))
    assert set(errors) == TABLE
    assert Decimal(errors["cost_usd"]).is_finite()


def test_a_header_of_ours_that_is_too_long_is_not_ours() -> None:
    """Somebody else wrote it. Kept twice, as it would be, it could make the dead letter too large for its topic."""
    long = record(b"x", headers=[("__docsluice.errors.topic", b"t" * 500_000), ("__docsluice.errors.offset", b"7")])
    headers = dict(dead_letter(long, _failure(), topic="dlq").headers)
    assert headers["__docsluice.errors.topic"] == headers["kafka_dlt-original-topic"] == b"documents"
    assert headers["__docsluice.errors.offset"] == b"7"
