"""What is known of how much a topic takes."""

from __future__ import annotations

import random

import pytest

from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import OutgoingRecord
from docsluice_consumer.kafka.topic_limits import TopicLimits, batch_bytes

MIB = 2**20


class Desk:
    """A broker that tells its limit, or not, and a clock that is wound by hand."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.asked = 0
        self.now = 0.0
        self.limits = TopicLimits(self._ask, clock=lambda: self.now)

    async def _ask(self, _topic: str) -> int | None:
        self.asked += 1
        return self.limit

    async def takes(self, outgoing: OutgoingRecord) -> bool:
        try:
            await self.limits.check(outgoing)
        except RecordRejected:
            return False
        return True


def noise(size: int) -> OutgoingRecord:
    """A record that no codec makes smaller."""
    return OutgoingRecord(topic="dlq", key=b"k", value=random.Random(1).randbytes(size), headers=[])


async def test_the_broker_is_asked_once_and_only_for_what_is_large() -> None:
    """Small records fit nearly everywhere."""
    desk = Desk(MIB)
    for _ in range(3):
        assert await desk.takes(noise(1_000))
    assert desk.asked == 0
    assert await desk.takes(noise(MIB // 2))
    assert not await desk.takes(noise(2 * MIB))
    assert not await desk.takes(noise(2 * MIB))
    assert desk.asked == 1


async def test_it_is_held_against_the_limit_as_it_will_be_sent() -> None:
    """Compressed, with the head of its batch."""
    desk = Desk(MIB)
    assert await desk.takes(OutgoingRecord(topic="dlq", key=None, value=bytes(10 * MIB), headers=[]))
    just = noise(MIB - 200)
    desk.limit = batch_bytes(just)
    desk = Desk(desk.limit)
    assert await desk.takes(just)
    desk = Desk(batch_bytes(just) - 1)
    assert not await desk.takes(just)


async def test_a_limit_that_was_raised_is_noticed() -> None:
    """Before a record is refused for an old answer, the limit is read again, once in a while."""
    desk = Desk(MIB)
    assert not await desk.takes(noise(2 * MIB))
    desk.limit = 4 * MIB
    assert not await desk.takes(noise(2 * MIB))
    desk.now = 31.0
    assert await desk.takes(noise(2 * MIB))


@pytest.mark.parametrize("limit", [None, 16 * MIB])
async def test_a_refusal_counts_more_than_what_was_asked(limit: int | None) -> None:
    """Some proxy may take less than the topic. Where nothing can be asked it is all that is known."""
    desk = Desk(limit)
    large = noise(MIB)
    assert await desk.takes(large)
    desk.limits.note_refused(large)
    assert not await desk.takes(large)
    assert await desk.takes(noise(MIB // 2))
    desk.now = 601.0
    assert await desk.takes(large), "it is tried again after a while"


async def test_a_small_topic_teaches_by_refusing() -> None:
    """Nobody asks for the limit of a topic before something is refused, or is large."""
    desk = Desk(10_000)
    assert await desk.takes(noise(20_000))
    desk.limits.note_refused(noise(20_000))
    assert not await desk.takes(noise(12_000))
    assert await desk.takes(noise(8_000))
    assert desk.asked == 1
