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
        self._show_admission(admission)
        self._metrics.useful_replicas.set(self._useful_replicas(source, admission))
        self._pace.note(
            now=time.monotonic(),
            documents=self._metrics.total("documents_total"),
            cost_usd=self._metrics.total("llm_cost_usd_total"),
        )
        backlog = self._metrics.total("backlog_documents")
        is_moving = source.held_for is None and source.why_not_ready() is None
        self._metrics.backlog_eta_seconds.set(self._eta_seconds(backlog) if is_moving else _UNKNOWN)
        self._metrics.backlog_cost_usd.set(self._cost_usd(backlog))

    def _eta_seconds(self, backlog: float) -> float:
        """Seconds until the backlog is done. 0 if nothing is left, at whatever pace."""
        per_second = self._pace.documents_per_second()
        return backlog / per_second if backlog and per_second else backlog and _UNKNOWN

    def _cost_usd(self, backlog: float) -> float:
        per_document = self._pace.cost_usd_per_document()
        return backlog * (_UNKNOWN if per_document is None else per_document) if backlog else backlog

    def _show_admission(self, admission: Admission) -> None:
        for constraint, (limit, available) in admission.limits_and_available().items():
            self._metrics.admission_limit.labels(constraint=constraint).set(limit)
            self._metrics.admission_available.labels(constraint=constraint).set(available)
        for model, is_open in admission.circuits().items():
            self._metrics.circuit_open.labels(provider=model.provider, model=str(model)).set(is_open)
        for window, ratio in admission.budget_spent_ratios().items():
            self._metrics.budget_spent_ratio.labels(window=window).set(ratio)

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
