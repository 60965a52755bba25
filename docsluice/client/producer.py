"""Sends documents to the input topic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeAlias, Unpack

from docsluice.client.blocking import run
from docsluice.client.connection import Connection, topics_of
from docsluice.errors import ConfigurationError, InvalidDocument
from docsluice.kafka.topic_access import TopicWriter
from docsluice.kafka.transactions import ProducerRecord
from docsluice.messages import DocumentEvent, Headers, SourcePosition
from docsluice.validation.event_problems import NoEvent, NotUnicode, readable_event, written

Document: TypeAlias = DocumentEvent | Mapping[str, Any]
"""An event, or its fields: `document_id`, `text`, and maybe `metadata`."""
GivenHeaders: TypeAlias = Mapping[str, str | bytes] | Headers

_CONTENT_TYPE = ("content-type", b"application/json")
_IN_FLIGHT = 500


class DocumentProducer:
    """Sends documents to a topic: idempotently, and acknowledged by all replicas.

        async with DocumentProducer() as producer:
            position = await producer.send(document_id="invoice-17", text="…", metadata={"customer": "acme"})

    `topic` is DOCSLUICE_INPUT_TOPIC by default, or else `documents`. With a `transactional_id`, documents are sent
    within `async with producer.transaction():`. Two producers may not use the same id at once. For the rest see
    `Connection`.

    Raises:
        ConfigurationError: the settings or arguments cannot work.
    """

    def __init__(
        self, *, topic: str | None = None, transactional_id: str | None = None, **connection: Unpack[Connection]
    ) -> None:
        self._topics, settings = topics_of(connection, input_topic=topic)
        self.topic = settings.input_topic
        self._transactional_id = transactional_id
        self._writer: TopicWriter | None = None
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerAway: the broker did not answer in time.
            BrokerRefused: it refuses us, or there is no such topic.
        """
        writing = self._topics.writing(self.topic, transactional_id=self._transactional_id)
        self._writer = await self._cleanup.enter_async_context(writing)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer = None
        await self._cleanup.aclose()

    async def send(
        self,
        document: Document | None = None,
        /,
        *,
        key: str | bytes | None = None,
        headers: GivenHeaders = (),
        **fields: Any,
    ) -> SourcePosition:
        """Send one document, as an event or as fields. Returns where it is, once it is acknowledged.

        The document's id is the key unless you give one. Documents of one key keep their order.

        Raises:
            InvalidDocument: it is no document event. Nothing is sent.
            DocumentTooLarge: the topic does not take it.
            BrokerAway: no acknowledgement came in time. It may still arrive, so sending it again may repeat it.
            BrokerRefused: the broker does not let us write.
        """
        if self._writer is None:
            raise ConfigurationError(["a DocumentProducer sends within `async with DocumentProducer(…) as producer:`"])
        event = event_of(document, fields)
        try:
            key_bytes, own = _bytes(event.document_id if key is None else key), _headers(headers)
        except (UnicodeEncodeError, AttributeError, TypeError, ValueError):
            problem = "its key and its headers must be texts of whole characters, or bytes"
            raise InvalidDocument(f"document {event.document_id!r}: {problem}", document_id=event.document_id) from None
        record = ProducerRecord(topic=self.topic, key=key_bytes, value=written(event), headers=[*own, _CONTENT_TYPE])
        return await self._writer.write(record, document_id=event.document_id)

    async def send_many(
        self, documents: Iterable[Document] | AsyncIterable[Document], *, in_flight: int = _IN_FLIGHT
    ) -> int:
        """Send documents, at most `in_flight` of them unacknowledged. Returns how many there were.

        The first that fails ends it: no further one is begun, and those in flight are waited for.

        Raises:
            DocumentRefused: one cannot be sent. It says which.
            BrokerAway, BrokerRefused: as `send`.
        """
        if in_flight < 1:
            raise ConfigurationError(["in_flight: must be 1 or more"])
        room, count = asyncio.Semaphore(in_flight), 0
        under_way: set[asyncio.Task[SourcePosition]] = set()
        failures: list[BaseException] = []

        def ended(task: asyncio.Task[SourcePosition]) -> None:
            under_way.discard(task)
            room.release()
            if not task.cancelled() and (error := task.exception()) is not None:
                failures.append(error)

        try:
            async for document in _each(documents):
                await room.acquire()
                if failures:
                    break
                task = asyncio.create_task(self.send(document), name="docsluice.send")
                under_way.add(task)
                task.add_done_callback(ended)
                count += 1
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)
        if failures:
            raise failures[0]
        return count

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Send what is sent inside all or not at all. An exception inside undoes it.

        Raises:
            ConfigurationError: the producer has no transactional id, or a transaction is open.
            BrokerRefused: another producer has begun under the same id, or the broker does not let us.
            BrokerAway: the broker did not answer in time. Whether it was committed is unknown.
        """
        if self._writer is None:
            raise ConfigurationError(["a DocumentProducer sends within `async with DocumentProducer(…) as producer:`"])
        async with self._writer.transaction():
            yield


def send_documents(documents: Iterable[Document], *, topic: str | None = None, **connection: Unpack[Connection]) -> int:
    """Send documents without an event loop of your own. Returns how many there were, once all are acknowledged.

    Raises:
        DocumentRefused: one cannot be sent. Those before it may have been.
        ConfigurationError, BrokerAway, BrokerRefused: as `DocumentProducer`.
    """

    async def send_all() -> int:
        async with DocumentProducer(topic=topic, **connection) as producer:
            return await producer.send_many(documents)

    return run(send_all)


def event_of(document: Document | None, fields: Mapping[str, Any]) -> DocumentEvent:
    """The event that is meant.

    Raises:
        InvalidDocument: it is none.
    """
    if not isinstance(document, DocumentEvent | Mapping | None):
        raise InvalidDocument(f"a {type(document).__name__} is no document; give an event or fields", document_id="")
    given = document.model_dump() if isinstance(document, DocumentEvent) else dict(document or {})
    given |= fields
    named = given.get("document_id")
    document_id = named if isinstance(named, str) else ""
    if unknown := given.keys() - DocumentEvent.model_fields.keys():
        known = ", ".join(DocumentEvent.model_fields)
        problem = f"{', '.join(sorted(map(repr, unknown)))}: no field of a document; there are {known}"
        raise InvalidDocument(f"document {document_id!r}: {problem}", document_id=document_id)
    try:
        return readable_event(given)
    except (NoEvent, NotUnicode) as problem:
        raise InvalidDocument(f"document {document_id!r}: {problem}", document_id=document_id) from None


async def _each(documents: Iterable[Document] | AsyncIterable[Document]) -> AsyncIterator[Document]:
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            yield document
    else:
        for document in documents:
            yield document


def _headers(given: GivenHeaders) -> list[tuple[str, bytes | None]]:
    pairs = given.items() if isinstance(given, Mapping) else given
    found = [(name, None if value is None else _bytes(value)) for name, value in pairs]
    for name, _ in found:
        name.encode()  # whole characters only
    return found


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(memoryview(text))
