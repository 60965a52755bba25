"""Documents with their right answers, from a file of rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docsluice.documents.entries import ReadOptions
from docsluice.errors import WrongUsage
from docsluice.messages import OutputValue
from docsluice.text.likely_names import did_you_mean
from docsluice_consumer.kafka.records import Record
from docsluice_consumer.tasks.outputs import ChoiceOutput, JsonOutput, ListOutput, Output
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.trial.records import rows_of_files

_BETWEEN_ITEMS = re.compile(r"[;,|]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A record, and by task the answer that is right for it. A task is missing if the row does not say."""

    record: Record
    expected: Mapping[str, OutputValue]


def expectations_of(given: Sequence[str], file: PipelineFile) -> dict[str, str]:
    """By task, the field with its right answer, from words such as `category=label`.

    Raises:
        WrongUsage: one is not of this form, or names no task.
    """
    outputs = {task.name: task.output for task in file.tasks}
    found: dict[str, str] = {}
    for word in given:
        task, equals, field = word.partition("=")
        if not equals or not field:
            raise WrongUsage(f"--expect: {word} is not of the form TASK=FIELD")
        if task not in outputs:
            hint = did_you_mean(task, outputs) or f"; there are {', '.join(outputs)}"
            raise WrongUsage(f"--expect: there is no task {task}{hint}")
        found[task] = field
    if not found:
        raise WrongUsage("--expect TASK=FIELD is missing: in which field of a row is which task's right answer?")
    return found


def examples_of(
    paths: Sequence[str],
    file: PipelineFile,
    expectations: Mapping[str, str],
    *,
    options: ReadOptions,
    tell: Callable[[str], object],
) -> list[Example]:
    """The documents of the files with at least one right answer.

    `tell` is told what cannot be read, what has no answer, and which answers no label can be.

    Raises:
        WrongUsage: none has an answer, or an answer cannot be one of its task.
    """
    outputs = {task.name: task.output for task in file.tasks}
    found: list[Example] = []
    missing, unknown = Counter[str](), Counter[tuple[str, str]]()
    for record, row in rows_of_files(paths, file, options=options, tell=tell):
        expected: dict[str, OutputValue] = {}
        for task, field in expectations.items():
            value = _field(row, field)
            if value is None or value in ("", []):
                missing[task] += 1
                continue
            output = outputs[task]
            expected[task] = _answer(output, value, place=f"{record.topic}:{record.offset + 1}: {field}")
            if isinstance(output, ChoiceOutput) and expected[task] not in output.labels:
                unknown[task, str(expected[task])] += 1
        if expected:
            found.append(Example(record=record, expected=expected))
    if not found:
        raise WrongUsage(f"no row has an answer in {' or '.join(expectations.values())}")
    for task, count in missing.items():
        tell(f"{task}: {count} without an answer in {expectations[task]}, which do not count for it")
    for (task, label), count in unknown.items():
        tell(f"{task}: {count} expect {label}, which is no label of the task, and count as wrong")
    return found


def _field(row: Mapping[str, Any], field: str) -> Any:
    """A field by its name, or by its path in objects. Metadata may be left out of the path."""
    if field in row:
        return row[field]
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    metadata = row.get("metadata")
    return metadata.get(field) if value is None and isinstance(metadata, Mapping) else value


def _answer(output: Output, value: Any, *, place: str) -> OutputValue:
    """What a row says, as an answer of the task.

    Raises:
        WrongUsage: it cannot be one.
    """
    if isinstance(output, ListOutput):
        items = _BETWEEN_ITEMS.split(value) if isinstance(value, str) else value
        if not isinstance(items, Iterable) or isinstance(items, Mapping):
            raise WrongUsage(f"{place}: is no list")
        return [str(item).strip() for item in items if str(item).strip()]
    if isinstance(output, JsonOutput):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise WrongUsage(f"{place}: is no JSON") from None
        if not isinstance(value, dict):
            raise WrongUsage(f"{place}: is no object")
        return value
    if isinstance(value, dict | list):
        raise WrongUsage(f"{place}: is no text")
    return str(value).strip()
