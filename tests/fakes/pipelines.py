"""A pipeline round an analyzer and a sink."""

from __future__ import annotations

from typing import Literal

from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.result_writer import ResultWriter
from docsluice_consumer.analysis.results import Identity
from docsluice_consumer.dead_letters.hold import DeadLetterHold
from docsluice_consumer.dead_letters.limit import DeadLetterLimit
from docsluice_consumer.dead_letters.sink import DeadLetterSink
from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.kafka.records import Sink
from docsluice_consumer.pipeline import Pipeline
from docsluice_consumer.telemetry.metrics import Metrics

RESULTS, DEAD_LETTERS = "documents.results", "documents.dlq"


def pipeline_of(
    *,
    analyzer: Analyzer,
    sink: Sink,
    metrics: Metrics,
    mode: Literal["fanout", "fused"] = "fused",
    dead_letter_hold: DeadLetterHold | None = None,
    keeps_answers: bool = True,
    reader: RecordReader | None = None,
    carried_headers: frozenset[str] = frozenset(),
) -> Pipeline:
    """Without a dead-letter limit, unless `dead_letter_hold` has one."""
    identity = Identity(
        group_id="docsluice",
        writer=ResultWriter(topic=RESULTS),
        pipeline_version="v1",
        mode=mode,
        carried_headers=carried_headers,
    )
    dead_letter_hold = dead_letter_hold or DeadLetterHold(limit=DeadLetterLimit(max_ratio=1, max_consecutive=0))
    dead_letters = DeadLetterSink(
        sink=sink,
        dead_letter_hold=dead_letter_hold,
        identity=identity,
        topic=DEAD_LETTERS,
        metrics=metrics,
        keeps_answers=keeps_answers,
    )
    return Pipeline(
        analyzer=analyzer,
        sink=sink,
        dead_letters=dead_letters,
        dead_letter_hold=dead_letter_hold,
        identity=identity,
        metrics=metrics,
        reader=reader,
    )
