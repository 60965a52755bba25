"""The metrics of one process: what `catalogue.py` lists, on a registry of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from docsluice.messages import Usage
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.telemetry.catalogue import CATALOGUE, PAUSE_REASONS, PREFIX

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The content type that `Metrics.exposition` must be served with."""


class Metrics:
    """The metrics of one process, on a registry of their own."""

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
        """All metrics in Prometheus' text format. `cut` removes secrets from labels."""
        return generate_latest(_Shown(self.registry, self._cut))

    def expect_task(self, *, task: str, model: ModelRef) -> None:
        """Let a task's counters exist at 0 before its first call, so that its first tokens and dollars are seen."""
        self.count_call(task=task, model=model, outcome="ok", calls=0)
        self.llm_request_duration_seconds.labels(task=task, provider=model.provider, model=str(model))

    def count_call(
        self,
        *,
        task: str,
        model: ModelRef,
        outcome: str,
        usage: Usage | None = None,
        cost_usd: float = 0.0,
        calls: int = 1,
    ) -> None:
        """Count a call. Without `usage` it had no answer, and its tokens and cost are not counted."""
        labels = {"task": task, "provider": model.provider, "model": str(model)}
        self.llm_requests_total.labels(**labels, outcome=outcome).inc(calls)
        if usage is None and calls:
            return
        usage = usage or Usage()
        self.llm_cost_usd_total.labels(**labels, outcome=outcome).inc(cost_usd)
        for direction, tokens in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached_input", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            self.llm_tokens_total.labels(**labels, direction=direction).inc(tokens)

    def observe_call(self, *, task: str, model: ModelRef, seconds: float) -> None:
        """Note how long an answered call took."""
        labels = {"task": task, "provider": model.provider, "model": str(model)}
        self.llm_request_duration_seconds.labels(**labels).observe(seconds)

    def expect_dead_letters(
        self, *, of_records: Iterable[str], of_steps: Iterable[str], steps: Collection[str]
    ) -> None:
        """The same for dead letters: by the reasons of whole records without a step, by those of steps with each."""
        for reason in of_records:
            self.dead_letters_total.labels(reason=reason, step="")
        for reason, step in itertools.product(of_steps, steps):
            self.dead_letters_total.labels(reason=reason, step=step)

    def expect_waits(self, constraints: Iterable[str]) -> None:
        """The same for what may hold calls back."""
        for constraint in constraints:
            self.admission_wait_seconds_total.labels(constraint=constraint)

    def expect_commits(self, outcomes: Iterable[str]) -> None:
        """The same for how commits may end."""
        for outcome in outcomes:
            self.commits_total.labels(outcome=outcome)

    def expect_losses(self, topic: str, partition: int) -> None:
        """The same for records that are deleted before they are read."""
        self.records_lost_total.labels(topic=topic, partition=str(partition))

    def total(self, name: str, **labels: str) -> float:
        """The sum of a counter's or gauge's values over all its labels, or over those that match."""
        return self._sum(name, PREFIX + name, labels)

    def duration(self, name: str) -> tuple[float, float]:
        """The count and the sum of a histogram's observations."""
        return self._sum(name, f"{PREFIX}{name}_count", {}), self._sum(name, f"{PREFIX}{name}_sum", {})

    def _sum(self, name: str, sample_name: str, labels: Mapping[str, str]) -> float:
        return sum(
            float(sample.value)
            for family in getattr(self, name).collect()
            for sample in family.samples
            if sample.name == sample_name and labels.items() <= sample.labels.items()
        )

    def forget_partition(self, topic: str, partition: int) -> None:
        """Drop the gauges of a released partition. Otherwise the group's lag would count it twice."""
        for gauge in (self.partition_open_records, self.partition_lag_records, self.commit_metadata_ratio):
            gauge.remove(topic, str(partition))


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
