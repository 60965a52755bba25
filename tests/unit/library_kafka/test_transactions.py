"""What is told of a transaction's records of which several fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka.errors import (
    IllegalOperation,
    InvalidTxnState,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)

from docsluice.kafka.transactions import Outgoing, send_all


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

    async def send(
        self, _topic: str, *, value: bytes, key: bytes, partition: int | None, headers: Any
    ) -> asyncio.Future[None]:
        assert (value, partition, headers) == (b"value", None, [("name", b"value")])
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


def _out(*keys: bytes) -> list[Outgoing]:
    return [Outgoing(topic="results", key=key, value=b"value", headers=(("name", b"value"),)) for key in keys]


async def test_all_are_sent() -> None:
    """In their order."""
    producer = _Producer({})
    await send_all(producer, _out(b"a", b"b"))
    assert producer.sent == [b"a", b"b"]


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
