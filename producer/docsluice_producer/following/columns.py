"""The columns of a table of outcomes. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from docsluice.messages import DocumentResult, SourcePosition, Usage
from docsluice.outcomes.outcome import OF_DEAD_LETTERS, Outcome

BEFORE_OUTPUTS = ("kind", "document_id")
_OF_THE_FIRST_RELEASE = (
    "reason",
    "stage",
    "step",
    "message",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "saved_usd",
    "attempts",
    "finished_at",
    "mode",
    "models",
    "long",
    "pipeline_version",
    "result_id",
    "source_topic",
    "source_partition",
    "source_offset",
    "excerpt",
    "metadata",
)
"""Columns that keep their order. Newer columns come after them."""


def _columns_of_results() -> Iterator[str]:
    for name in DocumentResult.model_fields:
        match name:
            case "document_id" | "outputs" | "schema_version" | "usage_by_task":
                continue
            case "usage":
                yield from Usage.model_fields
            case "source":
                yield from (f"source_{part}" for part in SourcePosition.model_fields)
            case _:
                yield name


AFTER_OUTPUTS = tuple(dict.fromkeys((*_OF_THE_FIRST_RELEASE, *_columns_of_results(), *OF_DEAD_LETTERS)))


def flat(outcome: Outcome) -> dict[str, Any]:
    """The outcome's columns: its fields and parts of fields, its outputs, and its metadata name by name."""
    fields = {
        **outcome.fields,
        **({} if outcome.is_dead_letter else {name: getattr(outcome.usage, name) for name in Usage.model_fields}),
        **{f"source_{name}": value for name, value in outcome.fields["source"].items()},
        "long": [f"{task}: {how}" for task, how in outcome.long.items()],
    }
    return {
        **{name: fields.get(name) for name in BEFORE_OUTPUTS},
        **{output_column(name): value for name, value in outcome.outputs.items()},
        **{name: fields.get(name) for name in AFTER_OUTPUTS},
        **{metadata_column(name): value for name, value in outcome.fields["metadata"].items()},
    }


def output_column(output: str) -> str:
    """The column of an output: its name, or `outputs.NAME` if that is taken."""
    return f"outputs.{output}" if output in (*BEFORE_OUTPUTS, *AFTER_OUTPUTS) else spelled(output)


def metadata_column(name: str) -> str:
    """The column of a name in the metadata, beside the column with all of them."""
    return f"metadata.{spelled(name)}"


def spelled(text: str) -> str:
    """The text, with half of a surrogate pair as JSON's escape."""
    return text.encode(errors="backslashreplace").decode()


def cell(value: Any) -> str:
    """An output or a field as text: a list joined by semicolons, anything deeper as JSON."""
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return "; ".join(map(str, value))
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
