"""The metrics catalogue: one table, one attribute for each row, one page of documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import pytest
from prometheus_client.parser import text_string_to_metric_families

import docsluice_consumer
from docsluice.kafka.broker import Broker
from docsluice.messages import REASONS_OF_RECORDS, REASONS_OF_STEPS, DeadLetterReason
from docsluice_consumer.kafka.commits import GroupCommitter
from docsluice_consumer.kafka.exactly_once import ExactlyOnceSink
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.telemetry.catalogue import ANY, CATALOGUE, PREFIX, reference
from docsluice_consumer.telemetry.metrics import Metrics


def _samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_every_row_is_an_attribute_of_its_own_type() -> None:
    """`Metrics` declares exactly what the catalogue holds, so that mypy knows what the registry has."""
    hints = get_type_hints(Metrics)
    assert hints == {metric.name: metric.kind for metric in CATALOGUE}
    metrics = Metrics()
    for metric in CATALOGUE:
        assert isinstance(getattr(metrics, metric.name), metric.kind)


def test_every_row_says_what_it_means_and_what_to_do() -> None:
    """A help text is two sentences at least: the meaning and the remedy."""
    for metric in CATALOGUE:
        assert metric.meaning.endswith("."), metric.name
        assert metric.remedy.endswith("."), metric.name


def test_documentation_is_the_catalogue() -> None:
    """docs/reference/metrics.md is what `python -m docsluice_consumer.telemetry.catalogue` writes."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
    assert page.read_text() == reference()


def test_counters_with_closed_labels_start_at_zero() -> None:
    """A series that first appears at 1 has no increase that Prometheus could see."""
    samples = _samples(Metrics())
    for outcome in ("result", "dead_letter", "skipped"):
        assert samples[PREFIX + "documents_total", frozenset({("outcome", outcome)})] == 0
    assert samples[PREFIX + "consumption_paused", frozenset({("reason", "backpressure")})] == 0
    assert not any(name.startswith(PREFIX + "dead_letters") for name, _ in samples)


def test_an_expected_task_starts_at_zero() -> None:
    """The tokens and dollars of a task's very first call are an increase."""
    metrics = Metrics()
    metrics.expect_task(task="summary", model=model_ref("m"))
    samples, called = _samples(metrics), {("task", "summary"), ("provider", "default"), ("model", "m")}
    for direction in ("input", "output", "cached_input", "reasoning"):
        labels = frozenset({*called, ("direction", direction)})
        assert samples[PREFIX + "llm_tokens_total", labels] == 0
    assert samples[PREFIX + "llm_cost_usd_total", frozenset({*called, ("outcome", "ok")})] == 0


def _series(metrics: Metrics, name: str) -> set[tuple[str, ...]]:
    """The label values of a counter's series, each of which must be at 0."""
    found = {labels: value for (sample, labels), value in _samples(metrics).items() if sample == PREFIX + name}
    assert not any(found.values())
    return {tuple(value for _, value in sorted(labels)) for labels in found}


def test_expected_dead_letters_start_at_zero() -> None:
    """The first dead letter of a reason is an increase. A combination that cannot occur is no series."""
    metrics = Metrics()
    assert _series(metrics, "dead_letters_total") == set()
    metrics.expect_dead_letters(of_records=["undecodable", "too_large"], of_steps=["too_large"], steps=["a", "b"])
    assert _series(metrics, "dead_letters_total") == {
        ("undecodable", ""),
        ("too_large", ""),
        ("too_large", "a"),
        ("too_large", "b"),
    }


def test_every_reason_is_of_records_or_of_steps() -> None:
    """Both only where both can be."""
    assert set(REASONS_OF_RECORDS) | set(REASONS_OF_STEPS) == set(DeadLetterReason)
    assert set(REASONS_OF_RECORDS) & set(REASONS_OF_STEPS) == {
        DeadLetterReason.TOO_LARGE,
        DeadLetterReason.REJECTED,
    }


def test_what_the_settings_exclude_is_no_series() -> None:
    """A wait for a limit that is not set, or a rebalance that refuses a transaction, would stay at 0 for ever."""
    metrics = Metrics()
    assert _series(metrics, "admission_wait_seconds_total") == _series(metrics, "commits_total") == set()
    metrics.expect_waits(["concurrency", "gate"])
    metrics.expect_commits(["ok", "failed"])
    assert _series(metrics, "admission_wait_seconds_total") == {("concurrency",), ("gate",)}
    assert _series(metrics, "commits_total") == {("ok",), ("failed",)}


@pytest.mark.parametrize(
    ("committer", "outcomes"),
    [
        (lambda metrics: GroupCommitter(metrics=metrics), {("ok",), ("rebalanced",), ("failed",)}),
        (
            lambda metrics: ExactlyOnceSink(broker=Broker(bootstrap_servers="a:1"), group_id="g", metrics=metrics),
            {("ok",), ("failed",)},
        ),
    ],
)
def test_each_delivery_expects_its_own_commits(
    committer: Callable[[Metrics], object], outcomes: set[tuple[str, ...]]
) -> None:
    """The group refuses a commit while it is changing. A transaction only ever fails."""
    metrics = Metrics()
    committer(metrics)
    assert _series(metrics, "commits_total") == outcomes


def test_no_label_can_hold_a_document() -> None:
    """Labels are of few values: none is an id, a key or a text."""
    labels = {label for metric in CATALOGUE for label in metric.labels}
    bounded = {
        "provider",
        "outcome",
        "task",
        "model",
        "direction",
        "constraint",
        "reason",
        "step",
        "topic",
        "partition",
        "window",
    }
    assert labels <= bounded | {"result", "version", "pipeline_version"}
    assert ANY == ()


def test_two_sets_of_metrics_share_nothing() -> None:
    """Each `Metrics` has its own registry: a test, or a second service in the process, starts from nothing."""
    first, second = Metrics(), Metrics()
    first.rebalances_total.inc()
    assert _samples(first)[PREFIX + "rebalances_total", frozenset()] == 1
    assert _samples(second)[PREFIX + "rebalances_total", frozenset()] == 0


def test_creation_times_are_left_out() -> None:
    """No `_created` series: they double what Prometheus must keep and nobody reads them."""
    metrics = Metrics()
    metrics.document_duration_seconds.observe(1)
    assert b"_created" not in metrics.exposition()


def test_a_partition_that_left_shows_no_lag() -> None:
    """What another replica now reads is not counted here as well."""
    metrics = Metrics()
    for partition in ("0", "1"):
        metrics.partition_lag_records.labels("documents", partition).set(7)
        metrics.partition_open_records.labels("documents", partition).set(2)
    metrics.partition_released("documents", 0)
    metrics.partition_released("documents", 5)
    left = {dict(labels)["partition"] for name, labels in _samples(metrics) if "partition_" in name}
    assert left == {"1"}


def test_totals_of_some_labels_and_of_histograms() -> None:
    """What the service works out of its own metrics."""
    metrics = Metrics()
    metrics.llm_tokens_total.labels(task="a", provider="default", model="m", direction="input").inc(5)
    metrics.llm_tokens_total.labels(task="b", provider="default", model="m", direction="input").inc(7)
    metrics.llm_tokens_total.labels(task="b", provider="default", model="m", direction="output").inc(1)
    metrics.llm_request_duration_seconds.labels(task="a", provider="default", model="m").observe(2)
    metrics.llm_request_duration_seconds.labels(task="b", provider="default", model="m").observe(4)
    assert metrics.total("llm_tokens_total") == 13
    assert metrics.total("llm_tokens_total", direction="input") == 12
    assert metrics.duration("llm_request_duration_seconds") == (2, 6)


def test_only_telemetry_touches_a_metric() -> None:
    """Other rooms say what has happened, by a method of `Metrics`; so a trace can be kept of the same things."""
    home = Path(docsluice_consumer.__file__).parent
    rooms = [path for path in home.rglob("*.py") if "telemetry" not in path.parts]
    assert len(rooms) > 50
    names = "|".join(metric.name for metric in CATALOGUE)
    touched = [
        (path.name, found) for path in rooms for found in re.findall(rf"metrics\.(?:{names})\b", path.read_text())
    ]
    assert touched == []
