"""What happens in the service, told once: the door to the metrics for all other rooms."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeVar, cast

from prometheus_client import Counter, Histogram

from docsluice.messages import Usage
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.telemetry.catalogue import PAUSE_REASONS
from docsluice_consumer.telemetry.metric_families import MetricFamilies

M = TypeVar("M", Counter, Histogram)


class DocumentInProgress:
    """A record that is worked on."""

    is_skipped = False
    """Whether it turned out to be passed over. Then its time says nothing about documents."""


class Metrics(MetricFamilies):
    """One method for each thing that happens. A counter whose labels are known beforehand is `expected` at 0."""

    def __init__(self, *, cut: Callable[[str], str] = str) -> None:
        super().__init__(cut=cut)
        self._bound: dict[tuple[Counter | Histogram, tuple[str, ...]], Counter | Histogram] = {}

    def build(self, *, version: str, pipeline_version: str) -> None:
        """Which release runs, and which pipeline."""
        self.build_info.labels(version=version, pipeline_version=pipeline_version).set(1)

    @contextlib.contextmanager
    def document_in_progress(self) -> Iterator[DocumentInProgress]:
        """Count a document among those being worked on. If it ends without an error, note how long it took."""
        started, progress = time.monotonic(), DocumentInProgress()
        with self.documents_in_flight.track_inprogress():
            yield progress
        if not progress.is_skipped:
            self.document_duration_seconds.observe(time.monotonic() - started)

    def document_finished(self, outcome: str) -> None:
        """A record has ended: `result`, `dead_letter` or `skipped`."""
        self._of(self.documents_total, outcome).inc()

    def dead_letter_published(self, *, reason: str, step: str) -> None:
        """A record has ended as a dead letter."""
        self.document_finished("dead_letter")
        self.dead_letters_total.labels(reason=reason, step=step).inc()

    def fields_ignored(self, count: int) -> None:
        """An event had so many fields that nobody knows."""
        self.event_fields_ignored_total.inc(count)

    def expect_task(self, *, task: str, model: ModelRef) -> None:
        """Let a task's counters exist at 0 before its first call, so that its first tokens and dollars are seen."""
        self.call_finished(task=task, model=model, outcome="ok", calls=0)
        self._of(self.llm_request_duration_seconds, task, model.provider, str(model))

    def call_finished(
        self,
        *,
        task: str,
        model: ModelRef,
        outcome: str,
        usage: Usage | None = None,
        cost_usd: float = 0.0,
        calls: int = 1,
    ) -> None:
        """Count a call. Without `usage` it had no answer: then its tokens and cost are not touched."""
        call = (task, model.provider, str(model))
        self._of(self.llm_requests_total, *call, outcome).inc(calls)
        if usage is None and calls:
            return
        usage = usage or Usage()
        self._of(self.llm_cost_usd_total, *call, outcome).inc(cost_usd)
        for direction, tokens in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached_input", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            self._of(self.llm_tokens_total, *call, direction).inc(tokens)

    def call_answered(self, *, task: str, model: ModelRef, seconds: float) -> None:
        """Note how long an answered call took."""
        self._of(self.llm_request_duration_seconds, task, model.provider, str(model)).observe(seconds)

    def call_waited(self, *, constraint: str, seconds: float) -> None:
        """Calls have waited for a constraint for so long, added up over them."""
        self._of(self.admission_wait_seconds_total, constraint).inc(seconds)

    def call_retried(self, *, task: str, reason: str) -> None:
        """A task is asked again."""
        self.retries_total.labels(task=task, reason=reason).inc()

    def expect_waits(self, constraints: Iterable[str]) -> None:
        """Expect what may hold calls back."""
        for constraint in constraints:
            self.admission_wait_seconds_total.labels(constraint=constraint)

    def cache_hit(self, *, saved_usd: float) -> None:
        """A step was answered without a call, which would have cost so much."""
        self._of(self.store_lookups_total, "hit").inc()
        self.saved_usd_total.inc(saved_usd)

    def cache_missed(self) -> None:
        """A step is in no cache."""
        self._of(self.store_lookups_total, "miss").inc()

    def cache_entry_refused(self) -> None:
        """The store holds what cannot be believed."""
        self.store_entries_refused_total.inc()

    def expect_dead_letters(
        self, *, of_records: Iterable[str], of_steps: Iterable[str], steps: Collection[str]
    ) -> None:
        """Expect dead letters: by the reasons of whole records without a step, by those of steps with each."""
        for reason in of_records:
            self.dead_letters_total.labels(reason=reason, step="")
        for reason, step in itertools.product(of_steps, steps):
            self.dead_letters_total.labels(reason=reason, step=step)

    def expect_commits(self, outcomes: Iterable[str]) -> None:
        """Expect how commits may end."""
        for outcome in outcomes:
            self.commits_total.labels(outcome=outcome)

    def commit_finished(self, outcome: str) -> None:
        """A commit has ended: `ok`, `rebalanced` or `failed`."""
        self.commits_total.labels(outcome=outcome).inc()

    def rebalanced(self) -> None:
        """The group has been given its partitions."""
        self.rebalances_total.inc()

    def expect_losses(self, topic: str, partition: int) -> None:
        """Expect records that are deleted before they are read."""
        self.records_lost(topic, partition, count=0)

    def records_lost(self, topic: str, partition: int, *, count: int) -> None:
        """So many records were deleted before they were read."""
        self.records_lost_total.labels(topic=topic, partition=str(partition)).inc(count)

    def reading_paused(self, reason: str | None) -> None:
        """Partitions are not being read, for a reason; None when they are."""
        for known in PAUSE_REASONS:
            self.consumption_paused.labels(reason=known).set(known == reason)

    def backlog_seen(self, *, documents: float, oldest_seconds: float) -> None:
        """How many documents are left, NaN while nobody knows, and for how long the oldest one has been open."""
        self.backlog_documents.set(documents)
        self.oldest_open_record_age_seconds.set(oldest_seconds)

    def forecast(self, *, eta_seconds: float, cost_usd: float, useful_replicas: float) -> None:
        """When the backlog will be done, what that will cost, and how many replicas would help. NaN is unknown."""
        self.backlog_eta_seconds.set(eta_seconds)
        self.backlog_cost_usd.set(cost_usd)
        self.useful_replicas.set(useful_replicas)

    def broker_silent(self, seconds: float) -> None:
        """For how long the broker has said nothing."""
        self.broker_silent_seconds.set(seconds)

    def event_loop_seen(self, *, lag_seconds: float, tasks: int) -> None:
        """How the event loop keeps up."""
        self.event_loop_lag_seconds.set(lag_seconds)
        self.event_loop_tasks.set(tasks)

    def partition_seen(
        self, topic: str, partition: int, *, open_records: int, commit_ratio: float, lag: float | None
    ) -> None:
        """How a partition of ours stands. A lag of None is not known yet, and leaves what was known."""
        labels = {"topic": topic, "partition": str(partition)}
        self.partition_open_records.labels(**labels).set(open_records)
        self.commit_metadata_ratio.labels(**labels).set(commit_ratio)
        if lag is not None:
            self.partition_lag_records.labels(**labels).set(lag)

    def partition_released(self, topic: str, partition: int) -> None:
        """Drop the gauges of a partition that is no longer ours; else the group's lag would count it twice."""
        for gauge in (self.partition_open_records, self.partition_lag_records, self.commit_metadata_ratio):
            gauge.remove(topic, str(partition))

    def limits_seen(
        self,
        *,
        limits: Mapping[str, tuple[float, float]],
        circuits: Mapping[ModelRef, bool],
        budget_spent: Mapping[str, float],
    ) -> None:
        """How admission stands: by constraint its limit and what is left, by model whether its circuit is open."""
        for constraint, (limit, available) in limits.items():
            self.admission_limit.labels(constraint=constraint).set(limit)
            self.admission_available.labels(constraint=constraint).set(available)
        for model, is_open in circuits.items():
            self.circuit_open.labels(provider=model.provider, model=str(model)).set(is_open)
        for window, ratio in budget_spent.items():
            self.budget_spent_ratio.labels(window=window).set(ratio)

    def _of(self, metric: M, *labels: str) -> M:
        """The metric with these labels. This look-up is several times as fast as its own.

        Only for metrics whose labels stay: a gauge that is removed would come back to life.
        """
        found = self._bound.get((metric, labels))
        if found is None:
            found = self._bound[metric, labels] = metric.labels(*labels)
        return cast("M", found)
