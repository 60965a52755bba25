"""A dead letter that always fits."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.kafka.flaw import ALL_PARTS, Flaw
from docsluice.messages import ERROR_HEADER_PREFIX, DeadLetterReason, Headers, stub_parts
from docsluice_consumer.dead_letters.record import Failure, dead_letter
from docsluice_consumer.dead_letters.truncation import rungs
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from docsluice_consumer.kafka.topic_limits import batch_bytes

SMALLEST_LIMIT = 800
"""Below that nothing is promised. Apache Kafka's default is 1,048,588."""
FAILED_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that no codec makes smaller."""
    return random.Random(seed).randbytes(size)


def letter_of(
    value: bytes | None = b"value",
    key: bytes | None = b"key",
    headers: Headers = (),
    flaw: Flaw | None = None,
    *,
    message: str = "no",
) -> OutgoingRecord:
    """The whole dead letter of a record."""
    record = Record(
        topic="documents", partition=2, offset=17, key=key, value=value, headers=headers, timestamp_ms=5, flaw=flaw
    )
    failure = Failure(
        error=RecordRejected(DeadLetterReason.TOO_LARGE, message, answer="words " * 1_000),
        attempts=0,
        cost_usd=Decimal(0),
        first_failed_at=FAILED_AT,
        failed_at=FAILED_AT,
        group_id="docsluice",
        pipeline_version="v1",
    )
    return dead_letter(record, failure, topic="dlq")


def errors_of(letter: OutgoingRecord) -> dict[str, str]:
    return {
        name.removeprefix(ERROR_HEADER_PREFIX): (value or b"").decode()
        for name, value in letter.headers
        if name.startswith(ERROR_HEADER_PREFIX)
    }


def fitting(letter: OutgoingRecord, limit: int) -> OutgoingRecord | None:
    """What a topic that takes so many bytes is given, as the service walks the ladder."""
    return next((rung for rung in rungs(letter) if batch_bytes(rung) <= limit), None)


def found(letter: OutgoingRecord, limit: int) -> OutgoingRecord:
    rung = fitting(letter, limit)
    assert rung is not None
    return rung


def test_what_fits_goes_as_it_is_with_others() -> None:
    """Compressed so that every client reads it."""
    letter = letter_of(headers=[("h", b"1")])
    assert found(letter, 1_000_000) == letter
    assert (letter.alone, letter.compression) == (False, "gzip")


def test_what_repeats_far_away_fits_once_it_is_compressed_with_zstd() -> None:
    """The window of gzip is 32 KiB. A record of 24 MB that came with zstd would fit no topic."""
    letter = letter_of(b"{" + noise(400 * 1024) * 60)
    rung = found(letter, 16 * 2**20)
    assert (rung.value, rung.headers, rung.alone, rung.compression) == (letter.value, letter.headers, True, "zstd")
    assert batch_bytes(rung) < 600_000


def test_headers_go_before_the_value() -> None:
    """Those that were copied, the stack trace and the answer. What was wrong and where it was read stays."""
    headers = [("big", noise(900, 9)), ("traceparent", b"00-1-2-01")]
    letter = letter_of(noise(10_000), headers=headers, message=noise(500).hex())
    rung = found(letter, batch_bytes(letter) - 1)
    assert rung.value == letter.value
    assert stub_parts(rung.headers) == ["headers"]
    errors = errors_of(rung)
    assert errors["exception.message"] == noise(500).hex()
    assert (errors["topic"], errors["partition"], errors["offset"]) == ("documents", "2", "17")
    assert not {"answer", "exception.stacktrace"} & errors.keys()
    assert ("traceparent", b"00-1-2-01") in rung.headers
    assert "big" not in dict(rung.headers)


def test_a_value_that_is_left_out_can_be_known_again() -> None:
    """By its size and SHA-256. It is empty and not null: null would be a deletion."""
    value = noise(50_000)
    rung = found(letter_of(value, headers=[("h", b"1")]), 5_000)
    errors = errors_of(rung)
    assert (rung.key, rung.value) == (b"key", b"")
    assert errors["stub"] == "headers,value"
    assert (errors["value_bytes"], errors["value_sha256"]) == ("50000", hashlib.sha256(value).hexdigest())


def test_the_larger_of_value_and_key_goes_first() -> None:
    """A huge key does not cost the value. The record's place stands in for it."""
    rung = found(letter_of(b"small", noise(50_000)), 5_000)
    assert (rung.key, rung.value) == (b"documents/2@17", b"small")
    assert errors_of(rung)["stub"] == "headers,key"
    assert errors_of(rung)["key_bytes"] == "50000"
    both = found(letter_of(noise(60_000), noise(50_000)), 5_000)
    assert (both.key, both.value) == (b"documents/2@17", b"")
    assert errors_of(both)["stub"] == "headers,key,value"


def test_a_record_without_a_key_has_one_to_fall_back_on() -> None:
    """A compacted topic takes nothing without one."""
    first, alone, keyed, *_ = rungs(letter_of(key=None))
    assert [first.key, alone.key, keyed.key] == [None, None, b"documents/2@17"]
    assert (keyed.value, errors_of(keyed)["stub"]) == (b"value", "key")
    (_, _, keyed, *_) = rungs(letter_of(b"", None, flaw=Flaw(problem="damaged", left_out=ALL_PARTS)))
    assert keyed.key == b"documents/2@17"


def test_what_could_not_be_read_is_named_like_what_was_left_out() -> None:
    """With what is known of it."""
    flaw = Flaw(problem="too large", left_out=frozenset({"value", "headers"}), value_bytes=9, value_sha256="ab")
    errors = errors_of(letter_of(b"", flaw=flaw))
    assert (errors["stub"], errors["value_bytes"], errors["value_sha256"]) == ("headers,value", "9", "ab")
    smallest = list(rungs(letter_of(b"", flaw=flaw)))[-1]
    errors = errors_of(smallest)
    assert (errors["stub"], errors["value_bytes"], errors["value_sha256"]) == ("headers,key,value", "9", "ab")


def test_the_last_rung_has_the_place_and_the_reason_only() -> None:
    """Even the message may be too much."""
    letter = letter_of(noise(50_000), message=noise(512).hex())
    *_, stub, bare = rungs(letter)
    assert batch_bytes(bare) < SMALLEST_LIMIT < batch_bytes(stub)
    assert errors_of(bare)["offset"] == "17"
    assert "exception.message" not in errors_of(bare)


def test_a_topic_that_takes_nothing_gets_nothing() -> None:
    """A person must fix that."""
    assert fitting(letter_of(), 200) is None


SIZES = st.integers(0, 3_000) | st.integers(0, 300_000)
HEADERS = st.lists(st.tuples(st.text(max_size=30), st.none() | SIZES.map(lambda size: noise(size, 3))), max_size=4)


@given(
    value=st.none() | SIZES.map(noise) | SIZES.map(bytes),
    key=st.none() | SIZES.map(lambda size: noise(size, 2)),
    headers=HEADERS,
    limit=st.integers(SMALLEST_LIMIT, 400_000),
    message=st.text(max_size=3_000),
)
def test_whatever_the_record_one_fits(
    value: bytes | None, key: bytes | None, headers: Sequence[tuple[str, bytes | None]], limit: int, message: str
) -> None:
    """And it says what happened, where the original is, and what was left out of it."""
    letter = letter_of(value, key, headers, message=message)
    rung = found(letter, limit)
    errors, left_out = errors_of(rung), stub_parts(rung.headers)
    assert (errors["topic"], errors["partition"], errors["offset"]) == ("documents", "2", "17")
    assert (errors["reason"], errors["stage"]) == ("too_large", "analyze")
    assert "value" in left_out or rung.value == value
    assert "key" in left_out or rung.key == key
    assert "headers" in left_out or all(header in rung.headers for header in headers)
    if "value" in left_out and value is not None:
        assert errors["value_sha256"] == hashlib.sha256(value).hexdigest()


@given(st.data())
def test_each_rung_is_no_larger_than_the_one_before(data: st.DataObject) -> None:
    """So a refusal is never answered with more."""
    letter = letter_of(data.draw(SIZES.map(noise)), b"k" * 100, data.draw(HEADERS))
    # What another codec and the name of what was left out may add.
    sizes = [batch_bytes(rung) for rung in rungs(letter) if rung.alone]
    assert all(after <= before + 512 for before, after in pairwise(sizes)), sizes


@pytest.mark.parametrize(
    "name", ["__docsluice.errors.topic", "__docsluice.errors.mine", "traceparent", "kafka_dlt-original-topic"]
)
def test_headers_with_our_names_cannot_make_it_too_large(name: str) -> None:
    """Somebody else may have written them."""
    rung = found(letter_of(headers=[(name, noise(100_000))]), 4_000)
    assert (rung.key, rung.value, errors_of(rung)["topic"]) == (b"key", b"value", "documents")
