"""Takes records through a pipeline as the service would, and keeps what was asked, answered and read."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from docsluice.messages import DocumentResult
from docsluice.outcomes.money import dollars
from docsluice.outcomes.outcome import errors_of
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from docsluice_consumer.pipeline import Pipeline
from docsluice_consumer.service import Service
from docsluice_consumer.settings import Settings
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.trial.calls import Call, CallRecorder


class NoAnswers(DocsluiceError):
    """The provider answers nothing, so the trial is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a document ended: with a `result`, with a `reason`, or passed over by `input.when`.

    `seconds` are those of the whole document, waiting for limits included.
    """

    record: Record
    calls: Sequence[Call]
    seconds: float
    result: DocumentResult | None = None
    reason: str = ""
    message: str = ""
    cost_usd: Decimal = Decimal(0)

    @property
    def document_id(self) -> str:
        """The document's id, or the record's key where nothing could be read."""
        return self.result.document_id if self.result else (self.record.key or b"").decode(errors="replace")

    @property
    def asked(self) -> frozenset[str]:
        """The tasks that a call was about. The others were answered before."""
        return frozenset(task for call in self.calls for task in call.tasks)

    @property
    def is_passed_over(self) -> bool:
        """Whether `input.when` left it out."""
        return self.result is None and not self.reason


async def try_records(
    records: Sequence[Record],
    settings: Settings,
    file: PipelineFile,
    secrets: KnownSecrets,
    *,
    ended: Callable[[], object] = lambda: None,
) -> list[Ending]:
    """The endings, in the order of the records. All are worked on at once, as far as the limits allow.

    `ended` is called at the end of each.

    Raises:
        ConfigurationError: something that the settings or the file name does not work.
        ServiceFault: the provider refuses all requests.
        NoAnswers: it answers nothing.
    """
    async with contextlib.AsyncExitStack() as cleanup:
        recorder, sink = CallRecorder(), _Sink()
        service = Service(settings, secrets, file=file)
        pipeline = await service.pipeline_into(sink, cleanup, clients=recorder.clients)
        endings = asyncio.gather(*(_ending(record, pipeline, sink, recorder, ended) for record in records))
        waiting: set[asyncio.Future[Any]] = {endings, recorder.gave_up}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if endings.done():
            return await endings
        endings.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await endings
        raise NoAnswers(str(recorder.gave_up.result()))


async def _ending(
    record: Record, pipeline: Pipeline, sink: _Sink, recorder: CallRecorder, ended: Callable[[], object]
) -> Ending:
    began = time.monotonic()
    with recorder.recording() as calls:
        await pipeline.process(record)
    ended()
    outgoing, seconds = sink.published.get(_place(record)), time.monotonic() - began
    if outgoing is None:
        return Ending(record=record, calls=calls, seconds=seconds)
    errors = errors_of(outgoing)
    if reason := errors.get("reason"):
        return Ending(
            record=record,
            calls=calls,
            seconds=seconds,
            reason=reason,
            message=errors.get("exception.message", ""),
            cost_usd=dollars(errors.get("cost_usd", "")) or Decimal(0),
        )
    result = DocumentResult.model_validate_json(outgoing.value or b"")
    return Ending(record=record, calls=calls, seconds=seconds, result=result, cost_usd=result.cost_usd)


class _Sink:
    """Keeps what would be published, by the place of its record. See `docsluice_consumer.kafka.records.Sink`."""

    def __init__(self) -> None:
        self.published: dict[tuple[str, int, int], OutgoingRecord] = {}

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:
        """Keep the outcome of the record."""
        self.published[_place(ending)] = outgoing


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset
