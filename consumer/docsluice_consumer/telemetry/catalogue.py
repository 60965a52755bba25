"""Every metric of the service, in one table: its type, its labels, what it means, and what to do when it looks wrong.

An attribute of `Metrics` has the name that Prometheus shows, without the prefix: `metrics.documents_total`.
`python -m docsluice_consumer.telemetry.catalogue > docs/reference/metrics.md` writes this table as a page.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "docsluice_"
CALL_BUCKETS_SECONDS = tuple(0.01 * 2**step for step in range(14))
"""0.01 to 81.92: OpenTelemetry's buckets for calls of a language model."""

DOCUMENT_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""A document may wait for quota, so these reach an hour."""

ANY: tuple[str, ...] = ()
"""A label with open values."""

CONSTRAINTS = (
    "concurrency",
    "requests",
    "tokens",
    "input_tokens",
    "output_tokens",
    "gate",
    "circuit",
    "budget",
)
"""What can hold a call back."""

PAUSE_REASONS = ("backpressure", "circuit", "budget", "dead_letter_limit")
"""Why partitions are not being read."""

TYPE_NAMES: dict[type, str] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue. `labels` gives each label's values where they are a closed list, else `ANY`.

    `every_value`: whether each of those values can occur in every service, whatever its settings.
    """

    name: str
    kind: type[Counter | Gauge | Histogram]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    buckets: Sequence[float] = ()
    meaning: str = field(kw_only=True)
    remedy: str = field(kw_only=True)
    every_value: bool = field(default=True, kw_only=True)

    def register(self, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
        """Create the metric. A counter starts at 0 for each value that can occur, so that no increase is missed."""
        help_text = f"{self.meaning} {self.remedy}"
        name = PREFIX + self.name
        if self.kind is Histogram:
            return Histogram(name, help_text, tuple(self.labels), registry=registry, buckets=self.buckets)
        metric = self.kind(name, help_text, tuple(self.labels), registry=registry)
        if self.kind is Counter and self.labels and self.every_value:
            for values in itertools.product(*self.labels.values()):
                metric.labels(*values)
        return metric


CATALOGUE = (
    Metric(
        "documents_total",
        Counter,
        {"outcome": ("result", "dead_letter", "skipped")},
        meaning="Records that have ended: as a result, as a dead letter, or skipped (no value, or input.when).",
        remedy="Flat while there is a backlog: look at admission_wait_seconds_total and consumption_paused.",
    ),
    Metric(
        "documents_in_flight",
        Gauge,
        meaning="Documents being worked on now.",
        remedy="0 with a backlog: paused, or waiting for the broker. Far above the concurrency: calls wait for quota.",
    ),
    Metric(
        "oldest_open_record_age_seconds",
        Gauge,
        meaning="How long the oldest open record has been open. 0 if none is.",
        remedy="Growing while documents end: one of them holds back the commit, and a restart repeats the rest.",
    ),
    Metric(
        "document_duration_seconds",
        Histogram,
        buckets=DOCUMENT_BUCKETS_SECONDS,
        meaning="From a record's reading to its published result or dead letter.",
        remedy="Far above the calls' own duration: documents wait for admission. See admission_wait_seconds_total.",
    ),
    Metric(
        "llm_requests_total",
        Counter,
        {"task": ANY, "provider": ANY, "model": ANY, "outcome": ANY},
        meaning="Calls of the model, each attempt counted. outcome is ok or the class of the error.",
        remedy="rate_limited: set the limits to your account's. timeout, unavailable: see the provider's status page. "
        "call_refused, answer_unreadable: the log's provider.failing has the provider's words.",
    ),
    Metric(
        "llm_request_duration_seconds",
        Histogram,
        {"task": ANY, "provider": ANY, "model": ANY},
        CALL_BUCKETS_SECONDS,
        meaning="One call of the model, from request to the whole answer, its wait for admission excluded.",
        remedy="Rising with the load: lower DOCSLUICE_MAX_CONCURRENCY. At DOCSLUICE_REQUEST_TIMEOUT_SECONDS: raise it.",
    ),
    Metric(
        "llm_tokens_total",
        Counter,
        {"task": ANY, "provider": ANY, "model": ANY, "direction": ANY},
        meaning="Tokens as the provider reports them: input is the whole prompt, cached_input the part of input that "
        "was cached (do not add it to input), output the answer, reasoning the part of output that was spent on "
        "thinking. Estimated where a provider reports none.",
        remedy="Input far above the documents' length: shorten prompts or examples, or use mode fused.",
    ),
    Metric(
        "llm_cost_usd_total",
        Counter,
        {"task": ANY, "provider": ANY, "model": ANY, "outcome": ANY},
        meaning="Dollars spent, failed attempts included.",
        remedy="0 with tokens: the model has no price. Give it one in the price overrides. High for outcomes other "
        "than ok: you pay for answers that are thrown away.",
    ),
    Metric(
        "admission_wait_seconds_total",
        Counter,
        {"constraint": CONSTRAINTS},
        every_value=False,
        meaning="Seconds that calls have waited, by the constraint that held them. Waiting calls add up, so it can "
        "grow by more than a second a second.",
        remedy="The constraint that grows fastest is what limits you. docs/how-to/watch.md says what to do about each.",
    ),
    Metric(
        "admission_limit",
        Gauge,
        {"constraint": ANY},
        meaning="What is allowed: calls at once for concurrency, else units a minute. Absent without a limit.",
        remedy="It differs from your account's limit: correct the settings.",
    ),
    Metric(
        "admission_available",
        Gauge,
        {"constraint": ANY},
        meaning="The part of the limit that could be used at once.",
        remedy="Near 0: this constraint is in force. Always near the limit with a backlog: something else is.",
    ),
    Metric(
        "store_lookups_total",
        Counter,
        {"result": ("hit", "miss")},
        meaning="Look-ups in the store before a call. hit: the answer was paid for before, or another document of the "
        "same text is paying for it now.",
        remedy="No hits after a restart or a redrive: DOCSLUICE_STORE_URL names another store than before.",
    ),
    Metric(
        "store_entries_refused_total",
        Counter,
        meaning="Entries of the store that do not answer the question and cause a new call. Each is a miss, too.",
        remedy="Any: somebody has changed the store, or its disk is failing. The log's store.entry_refused says why.",
    ),
    Metric(
        "saved_usd_total",
        Counter,
        meaning="Dollars that stored answers had cost, and that were saved.",
        remedy="0 with hits: the model has no price.",
    ),
    Metric(
        "retries_total",
        Counter,
        {"task": ANY, "reason": ANY},
        meaning="Retries of attempts, by what went wrong before.",
        remedy="invalid_answer: the prompt or the model does not fit the schema. Others: see llm_requests_total.",
    ),
    Metric(
        "dead_letters_total",
        Counter,
        {"reason": ANY, "step": ANY},
        meaning="Dead letters. step is the task that failed, or empty.",
        remedy="Read one: its headers say what went wrong. docs/reference/dead-letters.md has a remedy for each.",
    ),
    Metric(
        "event_fields_ignored_total",
        Counter,
        meaning="Unknown fields of events, which were left out.",
        remedy="The log names them once. Fields that should come back in the result belong into the event's metadata.",
    ),
    Metric(
        "consumption_paused",
        Gauge,
        {"reason": PAUSE_REASONS},
        meaning="1 while some partition is not being read, by reason. backpressure: enough of its records are open.",
        remedy="backpressure is normal with a backlog. circuit: the provider fails, or the account is empty. budget: "
        "it is spent until the hour or the day is over. Reading then resumes by itself. dead_letter_limit: too many "
        "documents fail, and a person must decide. See docs/how-to/troubleshoot.md.",
    ),
    Metric(
        "circuit_open",
        Gauge,
        {"provider": ANY, "model": ANY},
        meaning="1 while a model's calls fail one after the other, its account is empty, or it refuses all calls. Then "
        "only probes go out.",
        remedy="See the log's circuit.opened for the reason. Nothing is lost, documents wait.",
    ),
    Metric(
        "budget_spent_ratio",
        Gauge,
        {"window": ANY},
        meaning="The part of this replica's share of the budget that is spent, in the present hour and day (UTC).",
        remedy="Near 1 nothing more goes out until it is over. Raise DOCSLUICE_BUDGET_USD_PER_HOUR or _PER_DAY.",
    ),
    Metric(
        "useful_replicas",
        Gauge,
        meaning="With more replicas than this, some have nothing to do: the partitions, or the calls that the limits "
        "let be in flight, whichever are fewer.",
        remedy="Fewer than you run: stop some. To use more, add partitions, or raise the limits.",
    ),
    Metric(
        "partition_open_records",
        Gauge,
        {"topic": ANY, "partition": ANY},
        meaning="Records of the partition that were read and have not ended.",
        remedy="At its cap on one partition only: that partition's documents are slow, or its keys are skewed.",
    ),
    Metric(
        "partition_lag_records",
        Gauge,
        {"topic": ANY, "partition": ANY},
        meaning="Records that have not ended, by the partition's end as the broker tells it every five seconds, also "
        "while reading is paused. Open transactions are no part of it, nor transaction markers behind the last record. "
        "Markers before records that are not read yet count until they are reached. While the broker is silent, its "
        "last answer counts.",
        remedy="Growing: more comes in than the quota lets through. See admission_wait_seconds_total.",
    ),
    Metric(
        "commit_metadata_ratio",
        Gauge,
        {"topic": ANY, "partition": ANY},
        meaning="How full the commit's metadata is with the map of records that have ended above the committed offset.",
        remedy="From 0.75 the partition is paused until its oldest records have ended. See "
        "oldest_open_record_age_seconds.",
    ),
    Metric(
        "records_lost_total",
        Counter,
        {"topic": ANY, "partition": ANY},
        meaning="Offsets that retention, or somebody, deleted before they were read. Markers among them count, too.",
        remedy="Raise the topic's retention above the time that a backlog takes. The log's records.lost tells the "
        "offsets.",
    ),
    Metric(
        "broker_silent_seconds",
        Gauge,
        meaning="The longest silence of the broker about one partition. Below ten when all is well.",
        remedy="From 30 on /readyz fails, and the log's broker.silent names the cause. Documents wait meanwhile.",
    ),
    Metric(
        "rebalances_total",
        Counter,
        meaning="Assignments of partitions received from the group.",
        remedy="More than one for each start or stop of a replica: members are thought dead. See logs and load.",
    ),
    Metric(
        "commits_total",
        Counter,
        {"outcome": ("ok", "rebalanced", "failed")},
        every_value=False,
        meaning="Commits of offsets, or of transactions. rebalanced: refused during a rebalance, and repeated.",
        remedy="failed: the broker does not take them. Nothing is lost, but a restart would repeat work. See the logs.",
    ),
    Metric(
        "backlog_documents",
        Gauge,
        meaning="Records of this replica's partitions that have not ended, read or not. Not a number until the end of "
        "each is known.",
        remedy="Growing: see partition_lag_records.",
    ),
    Metric(
        "backlog_eta_seconds",
        Gauge,
        meaning="Seconds until the backlog is done at the pace of the last minutes. Not a number while that is not "
        "known, reading is paused for anything but backpressure, or the broker is silent.",
        remedy="Too long: raise what limits you. See admission_wait_seconds_total.",
    ),
    Metric(
        "backlog_cost_usd",
        Gauge,
        meaning="What the backlog will cost at the present cost of a document. Not a number until one has ended.",
        remedy="Too much: choose a cheaper model or mode fused before it is spent.",
    ),
    Metric(
        "event_loop_lag_seconds",
        Gauge,
        meaning="The longest lag of the service's own timer in the last one or two minutes. For that long nothing "
        "was read, published or committed, and no probe was answered.",
        remedy="Above 1: the log's loop.blocked says where it hung, unless the process was stopped. Often above 0.1: "
        "it has too little CPU.",
    ),
    Metric(
        "event_loop_tasks",
        Gauge,
        meaning="Tasks that the service has open: a few of its own, and some for each document.",
        remedy="Growing while documents end at a steady pace: a bug in docsluice, please report it.",
    ),
    Metric(
        "build_info",
        Gauge,
        {"version": ANY, "pipeline_version": ANY},
        meaning="Always 1. Its labels say what is running.",
        remedy="Two values over replicas outside a rollout: one of them is stale.",
    ),
)

_SOURCE = "consumer/docsluice_consumer/telemetry/catalogue.py"


def reference() -> str:
    """The catalogue as a page in Markdown."""
    lines = [
        "# Metrics",
        "",
        "After this page you know what each metric says, and what to do when it looks wrong.",
        "",
        f"`/metrics` on `DOCSLUICE_HTTP_PORT` serves them. This page is written from `{_SOURCE}`.",
        "",
        "| metric | type | labels | meaning | when it looks wrong |",
        "|---|---|---|---|---|",
    ]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" + _listed(values) for label, values in metric.labels.items())
        cells = (f"`{PREFIX}{metric.name}`", TYPE_NAMES[metric.kind], labels, metric.meaning, metric.remedy)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "The usual `process_*` metrics (CPU, memory, open files, start time) are there too."]
    return "\n".join(lines) + "\n"


def _listed(values: Sequence[str]) -> str:
    return f" ({', '.join(values)})" if values else ""


if __name__ == "__main__":
    sys.stdout.write(reference())
