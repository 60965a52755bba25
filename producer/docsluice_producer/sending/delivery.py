"""Delivers documents to one topic: many in flight, each acknowledged or accounted for."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerFenced, UnknownProducerId

from docsluice.documents.rows import Document
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_errors import TOO_LARGE
from docsluice.kafka.clients import connected, stopped
from docsluice.kafka.passing import raise_unless_passing
from docsluice_producer.errors import BrokerRefused

MAX_REQUEST_BYTES = 16 * 1024 * 1024
HEADERS = [("content-type", b"application/json")]
_OVERHEAD_BYTES = 256
"""More than the record's own fields and headers take."""
_MAX_UNACKNOWLEDGED = 2_000
_MAX_UNACKNOWLEDGED_BYTES = 32 * 1024 * 1024
_BATCH_BYTES = 128 * 1024
_LEAST_BATCH_BYTES = 512
_LINGER_MS = 5
_RETRY_SECONDS = 0.5
_SENDS_ALONE = 5
_SEQUENCE_LOST = (OutOfOrderSequenceNumber, ProducerFenced, UnknownProducerId)


@dataclass(slots=True)
class _Underway:
    document: Document
    acknowledgement: "asyncio.Future[Any]"


class Delivery:
    """An idempotent producer of one topic with a bounded number of unacknowledged documents.

    `refused` is called with every document that is too large for the broker, and its size in bytes. `sent` counts
    acknowledgements. `progressed_at` is the loop's time of the last one, or of the start of the wait.

    When a broker refuses a batch, aiokafka never uses its sequence numbers again, and the partition refuses everything
    after them as out of order. So after a refusal we wait for documents in flight, start a new producer, and send the
    rest again, one by one. That keeps the order except in one case. A broker without any batch of our producer in a
    partition checks no sequence there. If the very first batch is refused, later ones may stay before it.
    """

    def __init__(self, *, broker: Broker, topic: str, refused: Callable[[Document, int], None]) -> None:
        self.sent = 0
        self.progressed_at = 0.0
        self._broker = broker
        self._topic = topic
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._producer: AIOKafkaProducer | None = None
        self._underway: deque[_Underway] = deque()
        self._underway_bytes = 0
        self._again: deque[Document] = deque()
        self._handing_over = False
        self._batch_bytes = _BATCH_BYTES
        self._too_large_from_bytes = MAX_REQUEST_BYTES

    @property
    def acknowledged(self) -> int:
        """`sent`, plus acknowledgements since the last look."""
        ends = (underway.acknowledgement for underway in self._underway if underway.acknowledgement.done())
        return self.sent + sum(not end.cancelled() and end.exception() is None for end in ends)

    @property
    def waits_for_broker(self) -> bool:
        """Whether an acknowledgement, or room for another document, is awaited."""
        return (
            self._handing_over
            or bool(self._again)
            or any(not underway.acknowledgement.done() for underway in self._underway)
        )

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError: the broker cannot be reached.
        """
        await self.stop()
        self._producer = await connected(
            AIOKafkaProducer(
                enable_idempotence=True,
                acks="all",
                linger_ms=_LINGER_MS,
                max_batch_size=self._batch_bytes,
                max_request_size=MAX_REQUEST_BYTES,
                **self._broker.client_arguments(),
            )
        )

    async def send(self, document: Document) -> None:
        """Send a document. Waits while too much is in flight.

        Raises:
            BrokerRefused: the broker refuses it for another reason than the document.
        """
        size = size_of(document)
        if size >= self._too_large_from_bytes:
            self._refused(document, size)
            return
        while self._underway and (self._underway[0].acknowledgement.done() or self._is_full(size)):
            await self._settle_oldest()
        if not self._underway:
            self.progressed_at = self._loop.time()
        acknowledgement = await self._hand_over(document)
        self._underway.append(_Underway(document, acknowledgement))
        self._underway_bytes += size

    async def drain(self) -> None:
        """Wait until everything in flight has arrived or was refused."""
        while self._underway:
            await self._settle_oldest()

    async def stop(self) -> None:
        """Disconnect, without waiting for a broker that is away."""
        for underway in self._underway:
            underway.acknowledgement.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    async def _hand_over(self, document: Document) -> "asyncio.Future[Any]":
        assert self._producer is not None, "start comes first"  # noqa: S101
        self._handing_over = True
        try:
            while True:
                try:
                    acknowledgement: asyncio.Future[Any] = await self._producer.send(
                        self._topic, value=document.value, key=document.key, headers=HEADERS
                    )
                except KafkaError as error:
                    # A full batch, or the topic's metadata, waits for the broker. The caller decides for how long.
                    raise_unless_passing(error, mended=_SEQUENCE_LOST)
                    await asyncio.sleep(_RETRY_SECONDS)
                else:
                    return acknowledgement
        finally:
            self._handing_over = False

    def _is_full(self, size: int) -> bool:
        return len(self._underway) >= _MAX_UNACKNOWLEDGED or self._underway_bytes + size > _MAX_UNACKNOWLEDGED_BYTES

    async def _settle_oldest(self) -> None:
        try:
            await self._underway[0].acknowledgement
        except KafkaError:
            await self._recover()
        else:
            self._underway_bytes -= size_of(self._underway.popleft().document)
            self._acknowledged()

    async def _recover(self) -> None:
        """Find what has not arrived after a failure, and send it again."""
        await asyncio.wait([underway.acknowledgement for underway in self._underway])
        failures = []
        while self._underway:
            underway = self._underway.popleft()
            error = underway.acknowledgement.exception()
            if error is None:
                self._acknowledged()
            else:
                self._again.append(underway.document)
                failures.append((underway.document, error))
        self._underway_bytes = 0
        for _, error in failures:
            if not isinstance(error, TOO_LARGE):
                raise_unless_passing(error, mended=_SEQUENCE_LOST)
        if any(isinstance(error, TOO_LARGE) and size_of(document) < self._batch_bytes for document, error in failures):
            # Perhaps refused because of others: a topic's limit is for the batch.
            self._batch_bytes = max(_LEAST_BATCH_BYTES, self._batch_bytes // 2)
        await self._renew()
        while self._again:
            await self._send_alone(self._again[0])
            self._again.popleft()

    async def _send_alone(self, document: Document) -> None:
        """Send one document with nothing else in flight, so that a refusal can mean only this one."""
        size = size_of(document)
        for _ in range(_SENDS_ALONE):
            if size >= self._too_large_from_bytes:
                self._refused(document, size)
                return
            try:
                await (await self._hand_over(document))
            except TOO_LARGE:
                self._too_large_from_bytes = size
                await self._renew()
            except KafkaError as error:
                raise_unless_passing(error, mended=_SEQUENCE_LOST)
                await self._renew()
            else:
                self._acknowledged()
                return
        raise BrokerRefused(f"the broker refuses {document.place} {_SENDS_ALONE} times as out of sequence")

    async def _renew(self) -> None:
        """Start a new producer, with new sequence numbers."""
        while True:
            try:
                await self.start()
            except (KafkaError, OSError) as error:
                raise_unless_passing(error, mended=_SEQUENCE_LOST)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    def _acknowledged(self) -> None:
        self.sent += 1
        self.progressed_at = self._loop.time()


def size_of(document: Document) -> int:
    """An upper bound on the document's bytes in a request."""
    return len(document.value) + len(document.key) + _OVERHEAD_BYTES
