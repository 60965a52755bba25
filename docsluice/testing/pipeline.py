"""A user's pipeline on a made-up model: the service's own path of a record, without a broker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docsluice.client.producer import Document, event_of
from docsluice.client.received import DeadLetter, ReceivedResult, received_dead_letter, received_result
from docsluice.errors import ConfigurationError, DocumentTooLarge
from docsluice.kafka.transactions import ProducerRecord
from docsluice.messages import DeadLetterReason, DocumentEvent, Stage
from docsluice.outcomes.outcome import Unreadable, outcome_of
from docsluice.testing.answers import Answers, answers_of
from docsluice.testing.service import fake_model, file_of, settings_of
from docsluice.testing.topics import MemoryTopics
from docsluice.validation.event_problems import written

if TYPE_CHECKING:
    from docsluice_consumer.kafka.records import OutgoingRecord, Record
    from docsluice_consumer.settings import Settings

_MOST_BYTES = 16 * 1024 * 1024
_SECONDS = 60.0


class DeadLettered(AssertionError):
    """A document ended as a dead letter, and a result was expected."""

    def __init__(self, dead_letter: DeadLetter) -> None:
        super().__init__(f"document {dead_letter.document_id}: {dead_letter.reason}: {dead_letter.message}")
        self.dead_letter = dead_letter


class PipelineUnderTest:
    """A pipeline file on a made-up model. Each document takes the path that it takes in the service.

    `answers` are by task, or `recorded(…)`. A task without one gets an answer made up of the document's words. Without
    a file it is the built-in pipeline. `settings` are those of docs/reference/settings.md, by the names of their
    fields. `calls` are the calls that the model got, of all documents so far.

    Raises:
        ConfigurationError: the file or a setting cannot work, or the answers name a task that is not in the file.
    """

    def __init__(self, path: str | Path | None = None, /, *, answers: Answers | None = None, **settings: Any) -> None:
        self._path = path
        self._given = answers
        self._answers = answers_of(answers)
        self._settings = settings
        self.calls: list[Any] = []
        file_of(path, _NOWHERE, answers)
        settings_of(path, _NOWHERE, **settings)

    async def process(self, document: Document | None = None, /, **fields: Any) -> ReceivedResult:
        """The result of one document, given as an event or as fields.

        Raises:
            DeadLettered: it became a dead letter instead.
            InvalidDocument: it is no document event.
            ConfigurationError: no answer is recorded for its text.
        """
        outcome = await self.outcome(document, **fields)
        if isinstance(outcome, DeadLetter):
            raise DeadLettered(outcome)
        return outcome

    async def outcome(self, document: Document | None = None, /, **fields: Any) -> ReceivedResult | DeadLetter:
        """The result or the dead letter of one document. All else is as in `process`."""
        event = event_of(document, fields)
        if not self._answers.knows(event.text):
            raise ConfigurationError([f"answers: none is recorded for the text of document {event.document_id}"])
        async with asyncio.timeout(_SECONDS), fake_model(self._answers) as model:
            settings = settings_of(self._path, model.base_url, **self._settings)
            names = (settings.input_topic, settings.result_topic, settings.dead_letter_topic)
            topics = MemoryTopics(names, most_bytes=_MOST_BYTES)
            try:
                await self._run(event, settings, topics, base_url=model.base_url)
            finally:
                self.calls += model.calls
        ended = [*topics.records(settings.result_topic), *topics.records(settings.dead_letter_topic)]
        assert len(ended) == 1, "one outcome for each record"  # noqa: S101 - or the service has a bug
        outcome = outcome_of(ended[0])
        assert not isinstance(outcome, Unreadable), outcome  # noqa: S101 - as above
        found = received_result(outcome, ended[0]) or received_dead_letter(outcome, ended[0])
        assert found is not None  # noqa: S101 - an outcome is one or the other
        return found

    async def _run(self, event: DocumentEvent, settings: Settings, topics: MemoryTopics, *, base_url: str) -> None:
        from docsluice_consumer.kafka.records import read  # noqa: PLC0415 - loaded when it is used
        from docsluice_consumer.service import Service  # noqa: PLC0415

        key, value = event.document_id.encode(), written(event)
        topics.append(ProducerRecord(topic=settings.input_topic, key=key, value=value, headers=()))
        (record,) = topics.records(settings.input_topic)
        async with AsyncExitStack() as cleanup:
            service = Service(settings, file=file_of(self._path, base_url, self._given))
            pipeline = await service.pipeline_into(MemorySink(topics), cleanup)
            await asyncio.create_task(pipeline.process(read(record)), name="docsluice.document-under-test")


class MemorySink:
    """Publishes into memory. See `docsluice_consumer.kafka.records.Sink`."""

    def __init__(self, topics: MemoryTopics) -> None:
        self._topics = topics

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:  # noqa: ARG002 - nothing is committed
        """Append the outcome to its topic.

        Raises:
            RecordRejected: the topic does not take it.
        """
        from docsluice_consumer.errors import RecordRejected  # noqa: PLC0415 - loaded when it is used

        try:
            self._topics.append(outgoing)
        except DocumentTooLarge as problem:
            raise RecordRejected(DeadLetterReason.TOO_LARGE, str(problem), stage=Stage.PUBLISH) from None


_NOWHERE = "http://127.0.0.1:1/v1"
