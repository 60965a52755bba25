"""What variants of a pipeline answer about documents whose right answers are known, and how they compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import mean, quantiles

from docsluice.errors import WrongUsage
from docsluice.messages import DeadLetterReason
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.evaluation.examples import Example
from docsluice_consumer.evaluation.scoring import Judged, items_of, measures_of, score_of
from docsluice_consumer.evaluation.statistics import LEVEL, Interval, chance_of, interval_of
from docsluice_consumer.tasks.outputs import ListOutput, Output
from docsluice_consumer.trial.trial import Ending, try_records
from docsluice_consumer.trial.variants import Variant, names_of

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """How good the answers of one task are. `measure` names what `score` is."""

    task: str
    output: Output
    measure: str
    judged: Sequence[Judged]
    score: Interval

    @property
    def measures(self) -> Mapping[str, float]:
        """All that can be said of it in one number, by name."""
        if not isinstance(self.output, ListOutput):
            return {self.measure: self.score.value}
        items = items_of(self.judged)
        return {self.measure: self.score.value, "precision": items.precision, "recall": items.recall}


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantScore:
    """One variant: its tasks' scores, and what it takes. Answers of the store count with what they cost once.

    `name` tells it from those that it is compared with.

    `seconds` are the median and the 95th percentile of a document's calls, without what it waited for limits. None if
    nothing was asked now.
    """

    name: str
    variant: Variant
    tasks: Mapping[str, TaskScore]
    documents: int
    dead_letters: int
    invalid_answers: int
    repaired: int
    from_store: int
    usd: Decimal
    seconds: tuple[float, float] | None

    @property
    def usd_per_thousand(self) -> Decimal:
        """Dollars for 1,000 such documents."""
        return self.usd * 1000 / self.documents

    @property
    def mean_score(self) -> float:
        """The mean of the tasks' scores."""
        return mean(task.score.value for task in self.tasks.values())

    def measured(self, name: str) -> Mapping[str, float]:
        """By task, what `name` is: a measure, or a task, whose own measure is meant."""
        if name in self.tasks:
            return {name: self.tasks[name].score.value}
        return {task: one.measures[name] for task, one in self.tasks.items() if name in one.measures}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two variants on the documents of one task. `chance` is how often chance alone makes such a difference."""

    task: str
    better: VariantScore
    worse: VariantScore
    points: float
    chance: float

    @property
    def is_real(self) -> bool:
        """Whether chance makes so large a difference less than once in 20 times."""
        return self.chance < 1 - LEVEL


async def answered(
    variant: Variant, examples: Sequence[Example], secrets: KnownSecrets, *, ended: Callable[[], object]
) -> list[Ending]:
    """How each example ends with the variant. `ended` is called at the end of each.

    Raises:
        ConfigurationError, ServiceFault, NoAnswers: as `try_records`.
    """
    records = [example.record for example in examples]
    return await try_records(records, variant.settings, variant.file, secrets, ended=ended)


def scores_of(
    variants: Sequence[Variant], examples: Sequence[Example], endings: Sequence[Sequence[Ending]]
) -> list[VariantScore]:
    """The variants' scores on the same documents: those that none of them has passed over.

    Raises:
        WrongUsage: there are none.
    """
    kept = [at for at in range(len(examples)) if not any(of_variant[at].is_passed_over for of_variant in endings)]
    if not kept:
        raise WrongUsage("input.when passes all of the documents over")
    judged = dict.fromkeys(task for at in kept for task in examples[at].expected)
    return [
        _variant_score(name, variant, judged, [(examples[at], of_variant[at]) for at in kept])
        for name, variant, of_variant in zip(names_of(variants), variants, endings, strict=True)
    ]


def differences_of(variants: Sequence[VariantScore]) -> list[Difference]:
    """For each task, the best variant beside each other one."""
    found: list[Difference] = []
    for task in variants[0].tasks:
        best = max(variants, key=lambda one: one.tasks[task].score.value)
        for other in variants:
            if other is not best:
                ours, theirs = (_scores(one, task) for one in (best, other))
                points = best.tasks[task].score.value - other.tasks[task].score.value
                chance = chance_of(ours, theirs)
                found.append(Difference(task=task, better=best, worse=other, points=points, chance=chance))
    return found


def cheapest_of(variants: Sequence[VariantScore], *, within: float) -> VariantScore:
    """The cheapest variant of which no task is more than so much below the best one's score.

    If each is worse at something, it is the best on the whole.
    """
    best = {task: max(one.tasks[task].score.value for one in variants) for task in variants[0].tasks}
    least = {task: top - within - _ROUNDING for task, top in best.items()}
    good = [one for one in variants if all(one.tasks[task].score.value >= share for task, share in least.items())]
    candidates = good or [max(variants, key=lambda one: one.mean_score)]
    return min(candidates, key=lambda one: (one.usd_per_thousand, -one.mean_score))


def _variant_score(
    name: str, variant: Variant, judged: Iterable[str], pairs: Sequence[tuple[Example, Ending]]
) -> VariantScore:
    outputs = {task.name: task.output for task in variant.file.tasks}
    endings = [ending for _, ending in pairs]
    seconds = sorted(_seconds(ending) for ending in endings if ending.calls)
    return VariantScore(
        name=name,
        variant=variant,
        tasks={task: _task_score(task, outputs[task], pairs) for task in judged},
        documents=len(endings),
        dead_letters=sum(1 for one in endings if one.reason),
        invalid_answers=sum(1 for one in endings if one.reason == DeadLetterReason.INVALID_ANSWER),
        repaired=sum(1 for one in endings if one.result and _is_repaired(one)),
        from_store=sum(1 for one in endings if one.result and not one.calls),
        usd=sum((_usd(one) for one in endings), Decimal(0)),
        seconds=(_quantile(seconds, 50), _quantile(seconds, 95)) if seconds else None,
    )


def _task_score(task: str, output: Output, pairs: Sequence[tuple[Example, Ending]]) -> TaskScore:
    judged: list[Judged] = []
    for example, ending in pairs:
        if task in example.expected:
            expected = example.expected[task]
            found = ending.result.outputs.get(task) if ending.result else None
            judged.append(
                Judged(
                    document_id=ending.document_id,
                    expected=expected,
                    found=found,
                    score=score_of(output, expected, found),
                    excerpt=ending.result.excerpt if ending.result else "",
                )
            )
    interval = interval_of([one.score for one in judged])
    return TaskScore(task=task, output=output, measure=measures_of(output)[0], judged=judged, score=interval)


def _scores(variant: VariantScore, task: str) -> list[float]:
    return [one.score for one in variant.tasks[task].judged]


def _usd(ending: Ending) -> Decimal:
    return ending.cost_usd + (ending.result.saved_usd if ending.result else Decimal(0))


def _seconds(ending: Ending) -> float:
    """The seconds of the slowest step: steps are asked side by side, and the calls of one after one another."""
    steps: dict[str, float] = {}
    for call in ending.calls:
        steps[call.request.step] = steps.get(call.request.step, 0.0) + call.seconds
    return max(steps.values())


def _is_repaired(ending: Ending) -> bool:
    """Whether a step needed more than one call."""
    steps = [call.request.step for call in ending.calls]
    return len(steps) > len(set(steps))


def _quantile(ordered: Sequence[float], percent: int) -> float:
    return ordered[0] if len(ordered) == 1 else quantiles(ordered, n=100, method="inclusive")[percent - 1]
