"""Writes records that are acknowledged one by one: by an idempotent producer, or within transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError, KafkaTimeoutError, ProducerFenced

from docsluice.errors import BrokerAway, BrokerRefused, ClientFault, ConfigurationError, DocumentTooLarge
from docsluice.kafka import broker_errors
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.client_log import cause_in_words
from docsluice.kafka.clients import connected, stopped
from docsluice.kafka.idempotent_producer import IdempotentProducer, send_and_wait
from docsluice.kafka.transactions import ProducerRecord, begin, transactional_producer
from docsluice.messages import SourcePosition

MOST_BYTES: Final = 16 * 1024 * 1024
"""The largest record that is sent, whatever its topic takes."""
NO_TRANSACTIONS: Final = "transactional_id: needed for a transaction; give the producer a name of its own"
ONLY_TRANSACTIONS: Final = "a producer with a transactional_id sends within `async with producer.transaction():` only"
ONE_TRANSACTION: Final = "a transaction is open already: a producer has one at a time"
_BATCH_BYTES = 64 * 1024
"""aiokafka wakes all records that wait for a partition's batch, so a batch should take many of them."""
_RETRY_SECONDS = 0.5
_TRANSACTION_SECONDS = 60.0


class IdempotentWriter:
    """Each record is written by itself. See `TopicWriter`."""

    def __init__(self, session: BrokerSession) -> None:
        self._session = session
        self._producer: IdempotentProducer | None = None
        self._alone = asyncio.Lock()

    async def open(self) -> None:
        """Connect.

        Raises:
            KafkaError: the broker cannot be reached.
        """
        self._producer = IdempotentProducer(await self._connected(), connect=self._connected)

    async def write(self, record: ProducerRecord, *, document_id: str) -> SourcePosition:
        """See `TopicWriter`."""
        assert self._producer is not None, "open comes first"  # noqa: S101
        producer = self._producer
        async with _bounded(self._session):
            # A batch is refused as a whole, so a refusal may have meant another record.
            with suppress(*broker_errors.REFUSED):
                return await _acknowledged(self._session, lambda: producer.send(record))
            async with self._alone:
                client = await self._connected()
                try:
                    return await _acknowledged(self._session, lambda: send_and_wait(client, record))
                except broker_errors.REFUSED as error:
                    raise _refusal(error, record, document_id) from None
                finally:
                    await stopped(client)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Refuse: it has no transactional id."""
        raise ConfigurationError([NO_TRANSACTIONS])

    async def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.close()

    async def _connected(self) -> Any:
        return await connected(
            AIOKafkaProducer(
                enable_idempotence=True,
                acks="all",
                max_batch_size=_BATCH_BYTES,
                max_request_size=MOST_BYTES,
                **self._session.broker.client_arguments(),
            )
        )


class TransactionalWriter:
    """Records are written within transactions only. See `TopicWriter`."""

    def __init__(self, session: BrokerSession, transactional_id: str) -> None:
        self._session = session
        self._id = transactional_id
        self._producer: Any = None
        self._is_open = False
        self._is_fenced = False
        self._is_spent = False
        """Whether a batch was refused: aiokafka never uses its sequence numbers again."""

    async def open(self) -> None:
        """Connect. This ends what an earlier writer of the same id has begun.

        Raises:
            KafkaError: the broker cannot be reached.
        """
        self._producer = await connected(
            transactional_producer(
                self._session.broker,
                transactional_id=self._id,
                timeout_seconds=_TRANSACTION_SECONDS,
                codec="gzip",
            )
        )
        self._is_spent = False

    async def write(self, record: ProducerRecord, *, document_id: str) -> SourcePosition:
        """See `TopicWriter`."""
        if not self._is_open:
            raise ConfigurationError([ONLY_TRANSACTIONS])
        try:
            async with _bounded(self._session):
                return await _acknowledged(self._session, lambda: self._send(record))
        except broker_errors.REFUSED as error:
            self._is_spent = True
            raise _refusal(error, record, document_id) from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """See `TopicWriter`."""
        if self._is_open:
            raise ConfigurationError([ONE_TRANSACTION])
        if self._is_fenced:
            raise self._fencing()
        if self._producer is None:
            await self._session.with_retries(self.open)
        await self._said(begin(self._producer))
        self._is_open = True
        try:
            yield
            await self._said(self._producer.commit_transaction())
        except BaseException:
            await self._abort()
            raise
        finally:
            self._is_open = False

    async def close(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    async def _abort(self) -> None:
        """Abort. Where that fails, a new client makes the broker do it: until then, nobody can read past it."""
        with suppress(ClientFault, AssertionError):
            if not self._is_spent:
                await self._said(self._producer.abort_transaction())
                return
        await self.close()
        if not self._is_fenced:
            with suppress(ClientFault):
                await self._session.with_retries(self.open)

    async def _said(self, step: Any) -> None:
        """Wait for a step of a transaction.

        Raises:
            BrokerAway: the broker did not answer in time.
            BrokerRefused: it refuses.
        """
        servers = self._session.broker.bootstrap_servers
        try:
            async with _bounded(self._session):
                await step
        except ProducerFenced:
            self._is_fenced = True
            raise self._fencing() from None
        except (KafkaError, IllegalOperation) as error:
            raise BrokerRefused(f"{servers} refuses the transaction: {cause_in_words(error)}") from None

    async def _send(self, record: ProducerRecord) -> Any:
        try:
            return await send_and_wait(self._producer, record)
        except ProducerFenced:
            self._is_fenced = True
            raise self._fencing() from None

    def _fencing(self) -> BrokerRefused:
        return BrokerRefused(
            f"another producer has begun under the transactional id {self._id},"
            f" or a transaction took longer than {_TRANSACTION_SECONDS:.0f} s"
        )


@asynccontextmanager
async def _bounded(session: BrokerSession) -> AsyncIterator[None]:
    """Raise `BrokerAway` if the block takes longer than the broker may be silent."""
    try:
        async with asyncio.timeout(session.timeout_seconds):
            yield
    except TimeoutError:
        servers, last = session.broker.bootstrap_servers, session.client_log.refused or session.client_log.last
        why = f" ({cause_in_words(last)})" if last is not None else ""
        raise BrokerAway(
            f"no acknowledgement from {servers} for {session.timeout_seconds:g} s{why}; it may still arrive"
        ) from None


async def _acknowledged(session: BrokerSession, attempt: Any) -> SourcePosition:
    """Send until the broker has acknowledged. Errors that pass are tried again.

    Raises:
        KafkaError: one of `broker_errors.REFUSED`.
        BrokerRefused: another that does not pass.
    """
    while True:
        try:
            written = await attempt()
        except broker_errors.REFUSED:
            raise
        except (KafkaError, IllegalOperation) as error:
            if not isinstance(error, KafkaTimeoutError) and not (
                isinstance(error, KafkaError) and broker_errors.is_passing(error)
            ):
                servers = session.broker.bootstrap_servers
                raise BrokerRefused(f"{servers} refuses: {cause_in_words(error)}") from None
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return SourcePosition(topic=written.topic, partition=written.partition, offset=written.offset)


def _refusal(error: KafkaError, record: ProducerRecord, document_id: str) -> Exception:
    if not isinstance(error, broker_errors.TOO_LARGE):
        return BrokerRefused(f"topic {record.topic} refuses document {document_id}: {cause_in_words(error)}")
    return too_large(record, document_id)


def too_large(record: ProducerRecord, document_id: str) -> DocumentTooLarge:
    """Say that a topic does not take a record."""
    size = len(record.value or b"") + len(record.key or b"")
    most = f"the {MOST_BYTES:,} that are sent at most" if size >= MOST_BYTES else "its topic takes (max.message.bytes)"
    return DocumentTooLarge(
        f"document {document_id}: {size:,} bytes, more than {most}", document_id=document_id, size_bytes=size
    )
