"""Several subscribers of one group: only Apache Kafka serves them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

import docsluice
from tests.fakes.outcomes import result
from tests.integration.wire import Record, Wire, until

pytestmark = pytest.mark.kafka


def _results(wire: Wire) -> docsluice.Subscription[docsluice.ReceivedResult]:
    return docsluice.results(
        topic=wire.topics["result"],
        group_id=f"{wire.name}.readers",
        from_=datetime.now(UTC) - timedelta(hours=1),
        bootstrap_servers=wire.bootstrap_servers,
    )


class Member:
    """A subscriber that notes what it has handled."""

    def __init__(self, wire: Wire) -> None:
        self.handled: list[str] = []
        self._task = asyncio.create_task(self._run(wire))

    async def _run(self, wire: Wire) -> None:
        async with _results(wire) as results:
            async for one in results:
                self.handled.append(one.result_id)

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def _produce(wire: Wire, first: int, count: int) -> set[str]:
    numbers = range(first, first + count)
    values = [Record(value=result(n).model_dump_json().encode(), key=b"k%d" % n) for n in numbers]
    await wire.produce(values, role="result")
    return {f"r{n}" for n in numbers}


async def test_members_share_and_take_over(kafka_wire: Wire) -> None:
    """Each result is handled by one of them, while members come and go."""
    await kafka_wire.create_topics(partitions=4)
    expected = await _produce(kafka_wire, 0, 40)
    one = Member(kafka_wire)
    members = [one]

    async def all_are_handled() -> bool:
        return {done for member in members for done in member.handled} == expected

    try:
        await until(all_are_handled, what="one member handles all")
        two = Member(kafka_wire)
        members.append(two)

        async def both_work() -> bool:
            expected.update(await _produce(kafka_wire, len(expected), 8))
            await until(all_are_handled, what="both together handle all")
            return bool(two.handled)

        await until(both_work, what="the second has its share")
        await one.leave()
        expected |= await _produce(kafka_wire, len(expected), 20)
        await until(all_are_handled, what="the second takes over")
    finally:
        for member in members:
            await member.leave()
    handled = Counter(done for member in members for done in member.handled)
    assert set(handled) == expected
    repeated = [one for one, count in handled.items() if count > 1]
    assert len(repeated) <= 1, "only what was in hand when the first left"


async def test_a_result_in_hand_when_its_member_is_cut_off_comes_again(kafka_wire: Wire) -> None:
    """Only that one. The member had finished those before."""
    await kafka_wire.create_topics()
    await _produce(kafka_wire, 0, 5)
    with pytest.raises(ZeroDivisionError):
        await _fail_at(kafka_wire, "r2")
    async with _results(kafka_wire) as results:
        again: list[str] = []
        async for one in results:
            again.append(one.result_id)
            if one.result_id == "r4":
                break
    assert again == ["r2", "r3", "r4"]


async def _fail_at(wire: Wire, result_id: str) -> None:
    async for one in _results(wire):
        if one.result_id == result_id:
            raise ZeroDivisionError
