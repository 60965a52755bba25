"""Delivers documents in transactions, each with the place that it ends at. So each document is there exactly once.

The place is a record in a topic of its own, `TOPIC.sent`, under the name of the sending. Its transactional id has the
same name: a new run makes the broker end what an earlier one had begun, and only then reads the place.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka.errors import KafkaError, ProducerFenced

from docsluice.documents.rows import Document
from docsluice.kafka.broker_errors import TOO_LARGE
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.clients import connected, stopped
from docsluice.kafka.passing import raise_unless_passing, unretrieved
from docsluice.kafka.topic_scan import Scan
from docsluice.kafka.topics import create
from docsluice.kafka.transactions import MENDED, ProducerRecord, transact, transactional_producer
from docsluice_producer.errors import BrokerRefused, TakenOver
from docsluice_producer.sending.delivery import HEADERS, MAX_REQUEST_BYTES, size_of
from docsluice_producer.sending.places import SUFFIX, Files, SentPlace, place_of

_CONFIGS = {"cleanup.policy": "compact"}
_MOST_DOCUMENTS = 1_000
_MOST_BYTES = 4 * 1024 * 1024
_MOST_SECONDS = 1.0
"""A transaction is written once it is as old, so that a slow rate is no reason to lose much."""
_TRANSACTION_SECONDS = 120.0
_TRIES = 5
_PAUSE_SECONDS = 0.5


class ResumableDelivery:
    """A transactional producer of one topic. See `Delivery`, which it stands in for.

    `place` is how far the sending has come, in all its runs. `sent` counts the documents of this run.
    """

    def __init__(
        self,
        *,
        session: BrokerSession,
        topic: str,
        name: str,
        files: Files,
        refused: Callable[[Document, int], None],
    ) -> None:
        self.sent = 0
        self.progressed_at = 0.0
        self.place = SentPlace()
        self.waits_for_broker = False
        self._session = session
        self._topic = topic
        self._places = topic + SUFFIX
        self._name = name
        self._files = files
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(unretrieved)
        self._producer: Any = None
        self._gathered: list[Document] = []
        self._gathered_bytes = 0
        self._written_at = self._loop.time()

    @property
    def acknowledged(self) -> int:
        """The same as `sent`: nothing is known of an open transaction."""
        return self.sent

    async def start(self) -> None:
        """Connect, end what an earlier run had begun, and find its place.

        Raises:
            BrokerAway, BrokerRefused: the broker does not answer, or refuses.
            WrongUsage: the files have changed since.
        """
        if self._places not in await self._session.topics():
            await self._session.with_retries(
                lambda: create(self._session.broker, self._places, partitions=1, configs=_CONFIGS)
            )
        await self._renew()
        if self.place.files:
            self._files.check(self.place)

    async def send(self, document: Document) -> None:
        """Gather a document, and write what has been gathered if it is enough.

        Raises:
            TakenOver: another run of the same sending has begun.
            BrokerRefused: the broker refuses them for another reason than a document.
            BrokerAway: it went away.
        """
        size = size_of(document)
        if self._gathered and self._gathered_bytes + size > _MOST_BYTES:
            await self.drain()
        self._gathered.append(document)
        self._gathered_bytes += size
        is_old = self._loop.time() - self._written_at > _MOST_SECONDS
        if len(self._gathered) >= _MOST_DOCUMENTS or is_old:
            await self.drain()

    async def drain(self) -> None:
        """Write what has been gathered. Raises as `send`."""
        documents, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if not documents:
            return
        self.progressed_at = self._loop.time()
        self.waits_for_broker = True
        try:
            await self._write(documents)
        finally:
            self.waits_for_broker = False
        self._written_at = self._loop.time()

    async def stop(self) -> None:
        """Disconnect. The broker ends an open transaction when the next run begins."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    async def _write(self, documents: Sequence[Document]) -> None:
        """Write documents and the place of the last one, in one transaction."""
        fitting = [document for document in documents if size_of(document) < MAX_REQUEST_BYTES]
        place = SentPlace(
            position=documents[-1].position,
            sent=self.place.sent + len(fitting),
            files=self._files.fingerprint(documents[-1].position.source),
        )
        for _ in range(_TRIES):
            try:
                await transact(self._producer, [*map(self._record, fitting), self._mark(place)])
            except TOO_LARGE:
                await self._renew()
                await self._write_apart(documents)
                return
            except ProducerFenced as error:
                raise self._taken_over() from error
            except KafkaError as error:
                if type(error) is not KafkaError:  # aiokafka raises a plain one for its own bugs
                    raise_unless_passing(error, mended=MENDED)
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._renew()
                if self.place != place:
                    continue  # else it went through, and only the answer was lost
            self._written(documents, fitting, place)
            return
        raise BrokerRefused(f"the broker has refused a transaction {_TRIES} times")

    async def _write_apart(self, documents: Sequence[Document]) -> None:
        """Halve a batch until the document that is too large stands alone: a batch is refused as a whole."""
        if len(documents) == 1:
            self._refused(documents[0], size_of(documents[0]))
            return
        half = len(documents) // 2
        await self._write(documents[:half])
        await self._write(documents[half:])

    def _written(self, documents: Sequence[Document], fitting: Sequence[Document], place: SentPlace) -> None:
        self.place = place
        self.sent += len(fitting)
        self.progressed_at = self._loop.time()
        for document in documents:
            if size_of(document) >= MAX_REQUEST_BYTES:
                self._refused(document, size_of(document))

    def _record(self, document: Document) -> ProducerRecord:
        return ProducerRecord(topic=self._topic, key=document.key, value=document.value, headers=HEADERS)

    def _mark(self, place: SentPlace) -> ProducerRecord:
        return ProducerRecord(topic=self._places, partition=0, key=self._name.encode(), value=place.value(), headers=())

    async def _renew(self) -> None:
        """Start a new producer, which ends whatever was begun under its id. Then read the place."""
        await self.stop()
        self._producer = await self._session.with_retries(self._started)
        async with Scan(session=self._session, topic=self._places, partitions=[0]) as scan:
            async for records in scan.pieces(await scan.offset_range()):
                for record in records:
                    if record.key == self._name.encode() and (place := place_of(record.value)) is not None:
                        self.place = place

    async def _started(self) -> Any:
        return await connected(
            transactional_producer(
                self._session.broker,
                transactional_id=f"docsluice.send.{self._topic}.{self._name}",
                timeout_seconds=_TRANSACTION_SECONDS,
                codec=None,
            )
        )

    def _taken_over(self) -> TakenOver:
        return TakenOver(
            f"another send --resume of the same files to {self._topic} has begun, so this one ends:"
            " what it has sent is counted there"
        )
