"""What a transaction sends, and what is told of its records of which several fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    InvalidTxnState,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)

from docsluice.kafka.transactions import MENDED, ProducerRecord, send_all, transact


class _Producer:
    """A transactional producer that does to each record, by its key, what it is told, and forgets the transaction."""

    def __init__(
        self,
        ends: Mapping[bytes, Exception | None],
        *,
        gives_up_at: bytes | None = None,
        by: type[Exception] = IllegalOperation,
    ) -> None:
        self.ends = ends
        self.gives_up_at = gives_up_at
        self.by = by
        self.sent: list[bytes] = []
        self.partitions: list[int | None] = []
        self.calls: list[str] = []
        self._txn_manager = self

    def wait_for_transaction_end(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    async def begin_transaction(self) -> None:
        self.calls.append("begin")

    async def send_offsets_to_transaction(self, offsets: Any, group_id: str) -> None:
        self.calls.append(f"{offsets} of {group_id}")

    async def commit_transaction(self) -> None:
        self.calls.append("commit")

    async def send(
        self, _topic: str, *, value: bytes, key: bytes, partition: int | None, headers: Any
    ) -> asyncio.Future[None]:
        assert (value, headers) == (b"value", [("name", b"value")])
        self.partitions.append(partition)
        if key == self.gives_up_at:
            raise self.by("Can't send messages while not in transaction")
        self.sent.append(key)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if (error := self.ends.get(key)) is None:
            loop.call_soon(future.set_result, None)
        else:
            loop.call_soon(future.set_exception, error)
        return future


def _out(*keys: bytes) -> list[ProducerRecord]:
    return [ProducerRecord(topic="results", key=key, value=b"value", headers=(("name", b"value"),)) for key in keys]


async def test_all_are_sent() -> None:
    """In their order, each to its partition if it has one."""
    producer, (a, b) = _Producer({}), _out(b"a", b"b")
    await send_all(producer, [a, replace(b, partition=3)])
    assert (producer.sent, producer.partitions) == ([b"a", b"b"], [None, 3])


async def test_records_and_offsets_are_one_transaction() -> None:
    """Without offsets there are only records."""
    producer = _Producer({})
    await transact(producer, _out(b"a"))
    await transact(producer, _out(b"b"), offsets={TopicPartition("t", 0): (7, "")}, group_id="g")
    assert producer.sent == [b"a", b"b"]
    offsets = "{TopicPartition(topic='t', partition=0): (7, '')} of g"
    assert producer.calls == ["begin", "commit", "begin", offsets, "commit"]


async def test_a_transaction_that_is_given_up_asks_for_a_new_producer() -> None:
    """Aiokafka raises an error of a kind of its own for it, which is none of the broker's."""
    producer = _Producer({}, gives_up_at=b"b")
    with pytest.raises(MENDED):
        await transact(producer, _out(b"a", b"b"))
    assert producer.calls == ["begin"]


@pytest.mark.parametrize(
    ("ends", "gives_up_at", "told"),
    [
        ({b"b": MessageSizeTooLargeError(), b"c": KafkaConnectionError()}, None, MessageSizeTooLargeError),
        ({b"a": KafkaConnectionError(), b"c": ProducerFenced()}, None, ProducerFenced),
        ({b"a": MessageSizeTooLargeError()}, b"b", MessageSizeTooLargeError),
        ({}, b"b", IllegalOperation),
    ],
)
async def test_of_several_errors_the_most_telling_one_is_raised(
    ends: Mapping[bytes, Exception], gives_up_at: bytes | None, told: type[Exception]
) -> None:
    """That a transaction is over says nothing. What one of its records met does."""
    with pytest.raises(told):
        await send_all(_Producer(ends, gives_up_at=gives_up_at), _out(b"a", b"b", b"c"))


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ({b"a": TopicAuthorizationFailedError("results")}, TopicAuthorizationFailedError),
        ({b"a": InvalidTxnState(), b"b": TopicAuthorizationFailedError("results")}, TopicAuthorizationFailedError),
        ({}, AssertionError),
    ],
)
async def test_an_assertion_of_the_client_is_told_by_what_led_to_it(
    ends: Mapping[bytes, Exception], told: type[Exception]
) -> None:
    """It waits for room in a batch, and does not expect the transaction to end meanwhile, else it is a bug."""
    with pytest.raises(told):
        await send_all(_Producer(ends, gives_up_at=b"c", by=AssertionError), _out(b"a", b"b", b"c"))
