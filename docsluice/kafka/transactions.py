"""One transaction of a producer: records, and the offsets that they end, arrive together or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    TransactionCoordinatorFenced,
    UnknownProducerId,
)

from docsluice.kafka.broker import Broker
from docsluice.messages import Headers

MAX_REQUEST_BYTES = 2**31 - 1
"""A producer's own bound, on uncompressed bytes. The topic's `max.message.bytes` should decide, not the client."""
MENDED = (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    TransactionCoordinatorFenced,
    UnknownProducerId,
)
"""Errors of a producer whose transaction the broker has given up or forgotten. A new producer helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerRecord:
    """A record to send. `partition` None leaves it to the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None


def transactional_producer(
    broker: Broker, *, transactional_id: str, timeout_seconds: float, codec: str | None
) -> AIOKafkaProducer:
    """A producer that is not started yet. Its start ends what another has begun under its id, and fences that."""
    return AIOKafkaProducer(
        **broker.client_arguments(),
        transactional_id=transactional_id,
        transaction_timeout_ms=int(timeout_seconds * 1000),
        acks="all",
        max_request_size=MAX_REQUEST_BYTES,
        compression_type=codec,
    )


async def transact(
    producer: Any,
    outgoings: Iterable[ProducerRecord],
    *,
    offsets: Mapping[TopicPartition, tuple[int, str]] | None = None,
    group_id: str = "",
) -> None:
    """Send records, and the group's offsets, in a transaction of their own. Returns when it is committed.

    After an error its end may be unknown. A new producer makes the broker decide.

    Raises:
        ProducerFenced: another producer has started under the same id.
        KafkaError: of several, the one that says most. `MENDED` are those after which a new producer helps.
    """
    await begin(producer)
    try:
        await send_all(producer, outgoings)
        if offsets:
            await producer.send_offsets_to_transaction(offsets, group_id)
    except IllegalOperation as error:
        raise InvalidTxnState(str(error)) from error
    await producer.commit_transaction()


async def begin(producer: Any) -> None:
    """Begin a transaction.

    Raises:
        KafkaError: another has not ended, or the producer was fenced.
    """
    await producer.begin_transaction()
    # Only a commit awaits it. If a transaction fails before, asyncio would log a stack trace.
    producer._txn_manager.wait_for_transaction_end().add_done_callback(_seen)  # noqa: SLF001 - it is given nowhere


async def send_all(producer: Any, outgoings: Iterable[ProducerRecord]) -> None:
    """Send records within the transaction that has begun, and wait until the broker has them.

    Raises:
        KafkaError: of several, the one that says most.
        IllegalOperation: aiokafka has given up the transaction, and no record tells why.
        AssertionError: a bug, here or in aiokafka.
    """
    sent: list[asyncio.Future[Any]] = []
    errors: list[BaseException] = []
    try:
        for out in outgoings:
            sent.append(
                await producer.send(
                    out.topic, value=out.value, key=out.key, partition=out.partition, headers=list(out.headers)
                )
            )
            sent[-1].add_done_callback(_seen)  # though the error of a later one may be raised instead
    except (KafkaError, IllegalOperation, AssertionError) as error:
        # aiokafka raises the last one if it gives the transaction up while a record waits for room in a batch.
        errors.append(error)
    errors[:0] = [end for end in await asyncio.gather(*sent, return_exceptions=True) if isinstance(end, BaseException)]
    if errors:
        raise min(errors, key=_says_little)


def _says_little(error: BaseException) -> int:
    """Sort key for the errors of one transaction: errors that only follow from others come last."""
    if isinstance(error, ProducerFenced):
        return 0
    return 2 if isinstance(error, (IllegalOperation, InvalidTxnState, AssertionError)) else 1


def _seen(sent: asyncio.Future[Any]) -> None:
    """Retrieve the end, so that asyncio does not complain that nobody has."""
    if not sent.cancelled():
        sent.exception()
