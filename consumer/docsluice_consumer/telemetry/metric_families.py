"""The metric families of one process: what `catalogue.py` lists, on a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from docsluice_consumer.telemetry.catalogue import CATALOGUE, PAUSE_REASONS, PREFIX

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The content type that `MetricFamilies.exposition` must be served with."""


class MetricFamilies:
    """The families, each an attribute with the name that Prometheus shows, without the prefix."""

    documents_total: Counter
    documents_in_flight: Gauge
    oldest_open_record_age_seconds: Gauge
    document_duration_seconds: Histogram
    llm_requests_total: Counter
    llm_request_duration_seconds: Histogram
    llm_tokens_total: Counter
    llm_cost_usd_total: Counter
    admission_wait_seconds_total: Counter
    admission_limit: Gauge
    admission_available: Gauge
    store_lookups_total: Counter
    store_entries_refused_total: Counter
    saved_usd_total: Counter
    retries_total: Counter
    dead_letters_total: Counter
    event_fields_ignored_total: Counter
    consumption_paused: Gauge
    circuit_open: Gauge
    budget_spent_ratio: Gauge
    useful_replicas: Gauge
    partition_open_records: Gauge
    partition_lag_records: Gauge
    commit_metadata_ratio: Gauge
    records_lost_total: Counter
    broker_silent_seconds: Gauge
    rebalances_total: Counter
    commits_total: Counter
    backlog_documents: Gauge
    backlog_eta_seconds: Gauge
    backlog_cost_usd: Gauge
    event_loop_lag_seconds: Gauge
    event_loop_tasks: Gauge
    build_info: Gauge

    def __init__(self, *, cut: Callable[[str], str] = str) -> None:
        self._cut = cut
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        for metric in CATALOGUE:
            setattr(self, metric.name, metric.register(self.registry))
        for reason in PAUSE_REASONS:
            self.consumption_paused.labels(reason=reason).set(0)
        for unknown in (self.backlog_documents, self.backlog_eta_seconds, self.backlog_cost_usd):
            unknown.set(float("nan"))  # 0 would say that nothing is left

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format. `cut` takes out of labels what must not be seen."""
        return generate_latest(_Shown(self.registry, self._cut))

    def total(self, name: str, **labels: str) -> float:
        """The sum of a counter's or gauge's values over all its labels, or over those that match."""
        return self._sum(name, PREFIX + name, labels)

    def duration(self, name: str) -> tuple[float, float]:
        """How often a histogram was observed, and the sum of what was."""
        return self._sum(name, f"{PREFIX}{name}_count", {}), self._sum(name, f"{PREFIX}{name}_sum", {})

    def _sum(self, name: str, sample_name: str, labels: Mapping[str, str]) -> float:
        return sum(
            float(sample.value)
            for family in getattr(self, name).collect()
            for sample in family.samples
            if sample.name == sample_name and labels.items() <= sample.labels.items()
        )


class _Shown(Collector):
    """A registry without the `_created` samples, which nobody reads and which double the number of series."""

    def __init__(self, registry: CollectorRegistry, cut: Callable[[str], str]) -> None:
        self._registry = registry
        self._cut = cut

    def collect(self) -> Iterator[Family]:
        """Pass on each family with its other samples."""
        for family in self._registry.collect():
            family.samples = [
                sample._replace(labels={name: self._cut(value) for name, value in sample.labels.items()})
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
            yield family
