"""Gauges that are computed when somebody looks at the metrics."""

from __future__ import annotations

import time

from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.kafka.source import Source
from docsluice_consumer.telemetry.metrics import Metrics
from docsluice_consumer.telemetry.throughput import Throughput, useful_replicas

_UNKNOWN = float("nan")


class Gauges:
    """The gauges of one service. The pace of documents is measured from one look to the next."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pace = Throughput()

    def refresh(self, source: Source, admission: Admission) -> None:
        """Bring them up to date."""
        source.report()
        self._metrics.limits_seen(
            limits=admission.limits_and_available(),
            circuits=admission.circuits(),
            budget_spent=admission.budget_spent_ratios(),
        )
        self._pace.note(
            now=time.monotonic(),
            documents=self._metrics.total("documents_total"),
            cost_usd=self._metrics.total("llm_cost_usd_total"),
        )
        backlog = self._metrics.total("backlog_documents")
        is_moving = source.held_for is None and source.why_not_ready() is None
        self._metrics.forecast(
            eta_seconds=self._eta_seconds(backlog) if is_moving else _UNKNOWN,
            cost_usd=self._cost_usd(backlog),
            useful_replicas=self._useful_replicas(source, admission),
        )

    def _eta_seconds(self, backlog: float) -> float:
        """Seconds until the backlog is done. 0 if nothing is left, at whatever pace."""
        per_second = self._pace.documents_per_second()
        return backlog / per_second if backlog and per_second else backlog and _UNKNOWN

    def _cost_usd(self, backlog: float) -> float:
        per_document = self._pace.cost_usd_per_document()
        return backlog * (_UNKNOWN if per_document is None else per_document) if backlog else backlog

    def _useful_replicas(self, source: Source, admission: Admission) -> float:
        calls, seconds = self._metrics.duration("llm_request_duration_seconds")
        if not calls:
            return _UNKNOWN
        in_flight = admission.useful_in_flight(
            input_tokens=self._metrics.total("llm_tokens_total", direction="input") / calls,
            output_tokens=self._metrics.total("llm_tokens_total", direction="output") / calls,
            seconds=seconds / calls,
        )
        return useful_replicas(partitions=source.partition_count, calls_in_flight=in_flight)
