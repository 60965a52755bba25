"""The results that are on the topic now, as a data frame."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from docsluice.client.blocking import run
from docsluice.client.connection import Connection, topics_of
from docsluice.client.subscription import From, start_of
from docsluice.errors import ConfigurationError, MissingPackage
from docsluice.messages import DocumentResult
from docsluice.outcomes.outcome import Unreadable, outcome_of
from docsluice.outcomes.seen import Seen

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_FIRST = ("document_id",)
_LAST = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
    "saved_usd",
    "attempts",
    "started_at",
    "finished_at",
    "mode",
    "pipeline_version",
    "result_id",
    "source_topic",
    "source_partition",
    "source_offset",
    "excerpt",
)


@overload
def read_results(
    *,
    as_: Literal["pandas"] = "pandas",
    topic: str | None = None,
    from_: From = "earliest",
    **connection: Unpack[Connection],
) -> pd.DataFrame: ...


@overload
def read_results(
    *, as_: Literal["polars"], topic: str | None = None, from_: From = "earliest", **connection: Unpack[Connection]
) -> pl.DataFrame: ...


def read_results(
    *,
    as_: Literal["pandas", "polars"] = "pandas",
    topic: str | None = None,
    from_: From = "earliest",
    **connection: Unpack[Connection],
) -> Any:
    """All committed results that are on the topic now, as a data frame of pandas or polars. Each once, one a row.

    A column for each task, named like it, and one for each name of the metadata, as `metadata.NAME`. A task named like
    another column is `outputs.NAME`. Objects are flattened, with points between. Sums of money are floats, in dollars.
    A column whose answers differ in kind holds text, and JSON where it was none.
    Records that are no results are left out.

    Raises:
        MissingPackage: pandas or polars is not installed.
        ConfigurationError: the settings or arguments cannot work.
        BrokerAway: the broker did not answer in time.
        BrokerRefused: it does not let us read, or there is no such topic.
    """
    if as_ not in ("pandas", "polars"):
        raise ConfigurationError(['as_: must be "pandas" or "polars"'])
    try:
        library = importlib.import_module(as_)
    except ImportError:
        raise MissingPackage(f"{as_} is not installed: pip install {as_}") from None
    topics, settings = topics_of(connection, result_topic=topic)
    if from_ == "latest":
        raise ConfigurationError(['from_: "latest" is nothing: it reads what is there now; give "earliest" or a time'])
    start = start_of(from_)

    async def rows() -> list[dict[str, Any]]:
        found, seen = [], Seen()
        async for records in topics.present(settings.result_topic, since=start.since):
            for record in records:
                outcome = outcome_of(record)
                if isinstance(outcome, Unreadable) or outcome.result is None or not seen.add(outcome.identities):
                    continue
                found.append(row_of(outcome.result))
        return found

    table = run(rows)
    columns = _columns(table)
    filled = {name: _of_one_kind([row.get(name) for row in table]) for name in columns}
    return library.DataFrame(filled) if as_ == "pandas" else library.DataFrame(filled, strict=False)


def row_of(result: DocumentResult) -> dict[str, Any]:
    """A result as one row, by columns."""
    flat = result.model_dump(include={"attempts", "started_at", "finished_at", "mode", "pipeline_version", "result_id"})
    row: dict[str, Any] = {"document_id": result.document_id}
    for name, value in result.outputs.items():
        row |= _flat(f"outputs.{name}" if name in (*_FIRST, *_LAST) else name, value)
    row |= _flat("metadata", result.metadata) | _flat("models", result.models) | _flat("long", result.long)
    for task, spent in result.usage_by_task.items():
        row |= _flat(f"usage_by_task.{task}", spent.model_dump() | {"cost_usd": float(spent.cost_usd)})
    row |= flat | {name: getattr(result.usage, name) for name in type(result.usage).model_fields}
    row |= {f"source_{name}": value for name, value in result.source.model_dump().items()}
    row |= {"cost_usd": float(result.cost_usd), "saved_usd": float(result.saved_usd), "excerpt": result.excerpt}
    return row


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    return {place: leaf for key, part in value.items() for place, leaf in _flat(f"{name}.{key}", part).items()}


def _of_one_kind(values: list[Any]) -> list[Any]:
    """The values of a column. If they differ in kind, as text: JSON of what is no string."""
    kinds = {kind for value in values if value is not None and value != [] for kind in _kinds(value)}
    if len(kinds) <= 1:
        return values
    return [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]


def _kinds(value: Any, *, depth: int = 0) -> Iterator[tuple[int, type]]:
    """What may share a column only with itself: plain values by type, those of lists by depth, too."""
    if isinstance(value, list):
        for item in value:
            yield from _kinds(item, depth=depth + 1)
    else:
        yield depth, float if type(value) is int else type(value)


def _columns(table: list[dict[str, Any]]) -> list[str]:
    """Every column: the id, the tasks and the metadata in the order of their appearance, then the rest."""
    found = dict.fromkeys(_each_name(table))
    return [*_FIRST, *(name for name in found if name not in (*_FIRST, *_LAST)), *_LAST]


def _each_name(table: list[dict[str, Any]]) -> Iterator[str]:
    for row in table:
        yield from row
