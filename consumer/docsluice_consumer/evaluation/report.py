"""An evaluation for people at a terminal, and as JSON for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from docsluice.messages import plain_decimal
from docsluice.text.printable import counted
from docsluice_consumer.evaluation.evaluation import Difference, TaskScore, VariantScore
from docsluice_consumer.evaluation.scoring import Judged, confusion_of, fields_of
from docsluice_consumer.evaluation.statistics import LEVEL, Interval
from docsluice_consumer.tasks.outputs import ChoiceOutput, JsonOutput, ListOutput
from docsluice_consumer.trial.report import shown

_MOST_CONFUSIONS = 5
_RARE = 0.001


def table_of(variants: Sequence[VariantScore]) -> Iterator[Sequence[str]]:
    """A head, a row a task, and what each variant takes."""
    yield ("", *(one.name for one in variants))
    for task, first in variants[0].tasks.items():
        yield (f"{task}: {first.measure}", *(interval_text(one.tasks[task].score) for one in variants))
        if isinstance(first.output, ListOutput):
            yield ("  precision, recall", *(_precision_recall(one.tasks[task]) for one in variants))
    yield ("dead letters", *(_dead_letters(one) for one in variants))
    yield ("repaired", *(str(one.repaired) for one in variants))
    yield ("$ for 1,000", *(plain_decimal(round(one.usd_per_thousand, 6)) for one in variants))
    yield ("seconds, p50 and p95", *(seconds_text(one) for one in variants))


def remarks_on(
    variants: Sequence[VariantScore], differences: Sequence[Difference], cheapest: VariantScore, *, within: float
) -> Iterator[str]:
    """What the numbers mean, and which mistakes are most frequent."""
    yield (
        f"In brackets: where the score of all such documents is, {LEVEL:.0%} sure, from"
        f" {counted(variants[0].documents, 'document')}."
    )
    yield from map(difference_text, differences)
    if len(variants) > 1:
        yield f"Cheapest within {within * 100:g} points of the best: {cheapest.name}"
    for one in variants:
        for task, score in one.tasks.items():
            yield from _mistakes(f"{one.name}, {task}" if len(variants) > 1 else task, score)


def difference_text(one: Difference) -> str:
    """Whether a difference means anything."""
    better, worse = one.better.name, one.worse.name
    if one.points == 0:
        return f"{one.task}: {better} and {worse} are equally good"
    said = f"{one.task}: {better} is {one.points * 100:.1f} points better than {worse}"
    if one.is_real:
        share = "less than 0.1%" if one.chance < _RARE else f"{one.chance:.1%}"
        return f"{said}; chance alone does that in {share} of such samples"
    return f"{said}, which may be chance (p = {one.chance:.2f}): more documents would tell"


def shortfalls(variants: Sequence[VariantScore], least: Mapping[str, float]) -> Iterator[str]:
    """What is below a wanted minimum, by the name of a measure or a task."""
    for one in variants:
        for name, wanted in least.items():
            for task, value in one.measured(name).items():
                if value < wanted:
                    yield f"{one.name}: {task}: {one.tasks[task].measure} {value:.3f} is below {wanted:g}"


def interval_text(interval: Interval) -> str:
    """A score in percent with its interval."""
    return f"{interval.value:.1%} ({interval.low:.0%} to {interval.high:.0%})"


def seconds_text(one: VariantScore) -> str:
    """The seconds of a document."""
    if one.seconds is None:
        return "from the store" if one.from_store else "nothing was asked"
    return f"{one.seconds[0]:.1f}, {one.seconds[1]:.1f}"


def wrong(task: TaskScore) -> list[Judged]:
    """The answers that are not the expected ones."""
    return [one for one in task.judged if not one.is_right]


def _precision_recall(task: TaskScore) -> str:
    return f"{task.measures['precision']:.1%}, {task.measures['recall']:.1%}"


def _dead_letters(one: VariantScore) -> str:
    if not one.dead_letters:
        return "0"
    return f"{one.dead_letters}, {one.invalid_answers} of them for their answers"


def _mistakes(name: str, task: TaskScore) -> Iterator[str]:
    if isinstance(task.output, ChoiceOutput):
        mixed = {pair: count for pair, count in confusion_of(task.judged).items() if pair[0] != pair[1]}
        for (expected, found), count in sorted(mixed.items(), key=lambda one: -one[1])[:_MOST_CONFUSIONS]:
            yield f"{name}: {expected} taken for {found} {counted(count, 'time')}"
    elif isinstance(task.output, JsonOutput):
        weak = sorted(fields_of(task.judged).items(), key=lambda one: one[1])
        yield from (f"{name}: {path} is right in {share:.0%}" for path, share in weak[:_MOST_CONFUSIONS] if share < 1)


def fields_of_variant(one: VariantScore) -> dict[str, Any]:
    """A variant as plain JSON, with every answer that is not the expected one."""
    return {
        "name": one.name,
        "models": list(one.variant.models),
        "mode": one.variant.mode,
        "documents": one.documents,
        "tasks": {task: _task_fields(score) for task, score in one.tasks.items()},
        "dead_letters": one.dead_letters,
        "invalid_answers": one.invalid_answers,
        "repaired": one.repaired,
        "from_store": one.from_store,
        "usd_per_thousand": float(one.usd_per_thousand),
        "seconds_p50": None if one.seconds is None else round(one.seconds[0], 3),
        "seconds_p95": None if one.seconds is None else round(one.seconds[1], 3),
    }


def fields_of_difference(one: Difference) -> dict[str, Any]:
    """A difference as plain JSON."""
    return {
        "task": one.task,
        "better": one.better.name,
        "worse": one.worse.name,
        "points": one.points,
        "p": one.chance,
    }


def _task_fields(task: TaskScore) -> dict[str, Any]:
    found: dict[str, Any] = {
        "measure": task.measure,
        "score": task.score._asdict(),
        "measures": dict(task.measures),
        "documents": len(task.judged),
        "disagreements": [
            {"document_id": one.document_id, "expected": one.expected, "found": one.found, "score": one.score}
            for one in wrong(task)
        ],
    }
    if isinstance(task.output, ChoiceOutput):
        pairs = confusion_of(task.judged).items()
        found["confusion"] = [{"expected": one, "found": other, "count": count} for (one, other), count in pairs]
    elif isinstance(task.output, JsonOutput):
        found["fields"] = fields_of(task.judged)
    return found


def answer_text(value: Any) -> str:
    """An answer as people read it, or that there is none."""
    return "(dead letter)" if value is None else shown(value)
