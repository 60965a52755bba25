"""What one replica's `/metrics` says about limits and backlog. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Series

PIPELINE_VERSION = re.compile(r"[0-9a-f]{12}")
_PREFIX = "docsluice_"
_WAITED = _PREFIX + "admission_wait_seconds_total"
_PAUSED = _PREFIX + "consumption_paused"
_DOCUMENTS = _PREFIX + "backlog_documents"
_ETA = _PREFIX + "backlog_eta_seconds"
_COST = _PREFIX + "backlog_cost_usd"
_BUILD = _PREFIX + "build_info"
_BEYOND_SENSE = 1e15
"""The bound of sensible numbers. NaN is not below it either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at one replica.

    `waited_seconds` is by constraint, since the replica began. `paused_for` are the reasons for its pause. The backlog
    is that of its own partitions, None while it is unknown. `eta_seconds` is None without a pace, and `cost_usd` is
    then meaningless. `pipeline_version` is empty if the page names none.
    """

    waited_seconds: Mapping[str, float]
    paused_for: frozenset[str] = frozenset()
    backlog_documents: float | None = 0.0
    eta_seconds: float | None = None
    cost_usd: float = 0.0
    pipeline_version: str = ""


def sample_of(exposition: str) -> Sample | None:
    """Read a page in Prometheus' text format. None if it is not that of a consumer."""
    waited: dict[str, float] = {}
    paused: set[str] = set()
    backlog: dict[str, float | None] = {}
    version = ""
    try:
        for series in _series(exposition):
            if series.name == _WAITED and abs(series.value) < _BEYOND_SENSE:
                waited[series.labels.get("constraint", "")] = series.value
            elif series.name == _PAUSED and series.value:
                paused.add(series.labels.get("reason", ""))
            elif series.name == _BUILD and PIPELINE_VERSION.fullmatch(series.labels.get("pipeline_version", "")):
                version = series.labels["pipeline_version"]
            elif not series.labels:
                backlog[series.name] = series.value if abs(series.value) < _BEYOND_SENSE else None
    except (ValueError, LookupError):
        return None
    if _DOCUMENTS not in backlog:
        return None
    return Sample(
        waited_seconds=waited,
        paused_for=frozenset(paused),
        backlog_documents=backlog[_DOCUMENTS],
        eta_seconds=backlog.get(_ETA),
        cost_usd=backlog.get(_COST) or 0.0,
        pipeline_version=version,
    )


def _series(exposition: str) -> Iterator[Series]:
    """Our series only. Other lines need not even be in the format."""
    names = (_WAITED, _PAUSED, _DOCUMENTS, _ETA, _COST, _BUILD)
    lines = (line for line in exposition.splitlines() if line.startswith(names))
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        yield from family.samples
