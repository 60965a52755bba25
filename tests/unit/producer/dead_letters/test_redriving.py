"""A dead letter on its way back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from docsluice.kafka.transactions import ProducerRecord
from docsluice.messages import ERROR_HEADER_PREFIX
from docsluice_producer.dead_letters.batches import Batches
from docsluice_producer.dead_letters.journal import Entry
from docsluice_producer.dead_letters.marks import Mark, Place, State
from docsluice_producer.dead_letters.redriving import Forecast, Sorting, Verdict, redriven_headers, verdict
from docsluice_producer.kafka.rate import Rate
from tests.fakes.dead_letters import fetched, letter


def test_the_headers_are_the_originals_with_the_origin_and_the_count() -> None:
    """Nothing of what went wrong goes back: not the reason, by which it would be a dead letter still, nor the trace."""
    own = [("traceparent", b"00-1"), ("own", b"1"), ("own", b"2"), ("content-type", b"text/plain")]
    headers = redriven_headers(fetched(7, own=own).headers, replays=1)
    assert headers[:4] == own
    assert dict(headers[4:]) == {
        ERROR_HEADER_PREFIX + name: text
        for name, text in {
            "topic": b"documents",
            "partition": b"0",
            "offset": b"7",
            "timestamp": b"1767268800000",
            "first_failed_at": b"2026-01-01T12:00:00.000Z",
            "cost_usd": b"0.5",
            "replay_count": b"1",
        }.items()
    }
    assert len(headers) == 11


@pytest.mark.parametrize(
    ("changed", "most", "found"),
    [
        ({}, 3, Verdict.SEND),
        ({"replay_count": "2"}, 3, Verdict.SEND),
        ({"replay_count": "3"}, 3, Verdict.TOO_OFTEN),
        ({"replay_count": "4"}, 3, Verdict.TOO_OFTEN),
        ({"replay_count": "4"}, None, Verdict.SEND),
        ({"replay_count": "1"}, 1, Verdict.TOO_OFTEN),
        ({"replay_count": None}, 3, Verdict.SEND),
        ({"topic": "elsewhere"}, 3, Verdict.OF_ANOTHER_TOPIC),
        ({"topic": "elsewhere", "replay_count": "9"}, 3, Verdict.OF_ANOTHER_TOPIC),
        ({"topic": None}, None, Verdict.OF_ANOTHER_TOPIC),
    ],
)
def test_who_goes_back(changed: dict[str, Any], most: int | None, found: Verdict) -> None:
    """What came from the topic does, unless it went back as often as is allowed."""
    assert verdict(letter(fetched(1, **changed)), topic="documents", most_replays=most) is found


def test_without_a_value_there_is_nothing_to_send() -> None:
    """The service would skip such a record, and nothing would become of it."""
    record = fetched(1)
    record.value = None
    assert verdict(letter(record), topic="documents", most_replays=3) is Verdict.EMPTY


def test_what_does_not_go_back_is_named_with_what_to_say() -> None:
    """Each kind has a line, with the flag that gets it."""
    sorting = Sorting(topic="documents", most_replays=3)
    letters = [letter(fetched(1)), letter(fetched(2, replay_count="3"))]
    letters += [letter(fetched(3, topic="mails")), letter(fetched(4, topic="mails")), letter(fetched(5, topic=None))]
    assert [sorting.sends(one) for one in letters] == [True, False, False, False, False]
    often, mails, unknown = sorting.remarks
    assert often.startswith("1 dead letter passed over: sent again 3 times or more already (--force")
    assert mails == "2 dead letters passed over: first read in mails (--topic mails sends them there)"
    assert unknown.startswith("1 dead letter passed over: first read in a topic that their headers do not tell")


def test_no_more_than_ten_topics_are_named() -> None:
    """The rest is counted together."""
    sorting = Sorting(topic="documents", most_replays=3)
    for number in range(15):
        sorting.sends(letter(fetched(number, topic=f"t{number}")))
    assert len(sorting.remarks) == 11
    assert sorting.remarks[-1].startswith("5 dead letters ")


def test_a_forecast_sums_what_a_run_has_cost() -> None:
    """Over the runs of each, and says of how many nothing is known."""
    forecast = Forecast()
    for one in (fetched(1), fetched(1, replay_count="1"), fetched(1, cost_usd=None)):
        forecast.add(letter(one))
    assert (forecast.cost_usd, forecast.known, forecast.unknown) == (Decimal("0.75"), 2, 1)
    cost, unknown = forecast.sentences
    assert cost.startswith("may cost about $0.75, ")
    assert "less where the store keeps answers" in cost
    assert "more where a document failed before all its steps" in cost
    assert unknown == "no cost is known of 1 dead letter"


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["refused", "unexpected"], []),
        (["undecodable", "refused"], ["1 of them is undecodable or invalid_event: "]),
        (["undecodable", "invalid_event"], ["2 of them are undecodable or invalid_event: "]),
    ],
)
def test_a_forecast_tells_what_no_redrive_mends(reasons: list[str], said: list[str]) -> None:
    """A record that could not be read cannot be read the next time either, and is to be corrected and sent instead."""
    forecast = Forecast()
    for number, reason in enumerate(reasons):
        forecast.add(letter(fetched(number, reason=reason)))
    assert [line[: len(start)] for line, start in zip(forecast.sentences[1:], said, strict=True)] == said
    assert all("export" in line for line in forecast.sentences[1:])


def test_a_forecast_of_nothing_known_says_so() -> None:
    """It is no $0."""
    forecast = Forecast()
    assert forecast.sentences == []
    forecast.add(letter(fetched(1, cost_usd=None)))
    assert forecast.sentences == ["what it will cost is not known: no header tells what it has cost"]


def test_a_pace_is_kept_and_not_made_up_for() -> None:
    """Ten a second: five take half a second, and a long pause allows no more afterwards."""
    pace = Rate(per_second=10)
    assert pace.left(now=0.0) <= 0
    pace.went(5, now=0.0)
    assert pace.left(now=0.0) == pytest.approx(0.5)
    pace.went(10, now=100.0)
    assert pace.left(now=100.0) == pytest.approx(1.0)


def test_no_pace_is_no_wait() -> None:
    """Without a number a second, the next may always go."""
    pace = Rate(per_second=None)
    pace.went(1_000, now=0.0)
    assert pace.left(now=0.0) <= 0


def entry(number: int, size: int = 1) -> Entry:
    outgoing = ProducerRecord(topic="documents", partition=None, key=None, value=b"x" * size, headers=())
    return Entry(mark=Mark(Place(0, number), 0, State.REDRIVEN), outgoing=outgoing)


async def batched(*sizes: int, most: int = 100, per_second: int | None = None, stopped: bool = False) -> list[int]:
    """The sizes of the batches that such entries are written in."""
    written: list[int] = []

    async def write(entries: Sequence[Entry]) -> None:
        written.append(len(entries))

    stopping = asyncio.Event()
    batches = Batches(write=write, most=most, per_second=per_second, stopping=stopping)
    for number, size in enumerate(sizes):
        await batches.add(entry(number, size))
    if stopped:
        stopping.set()
    await batches.flush()
    await batches.flush()
    return written


async def test_batches_are_bounded_by_number_and_bytes() -> None:
    """A hundred at most, or four MiB. One that is larger goes alone."""
    assert await batched(*[1] * 250) == [100, 100, 50]
    assert await batched(*[1_500_000] * 5) == [2, 2, 1]
    assert await batched(1, 20_000_000, 1) == [1, 1, 1]
    assert await batched() == []


async def test_a_batch_is_no_more_than_a_seconds_worth() -> None:
    """So that a slow redrive does not come in heaps."""
    assert await batched(1, 1, 1, most=100, per_second=2_000) == [3]
    assert await batched(1, 1, most=100, per_second=1_000_000) == [2]


async def test_what_is_gathered_when_we_are_to_stop_is_left() -> None:
    """It is not begun, and the next redrive finds it."""
    assert await batched(1, 1, 1, stopped=True) == []
