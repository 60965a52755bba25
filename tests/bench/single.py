"""The parts that measure docsluice alone, and in one case each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.bench import local_model, long_document, odd_answers, steadiness
from tests.bench.part import Case, Column, Options, Part, Played
from tests.bench.stage import Stage

_NO_CONTENDER = "docsluice"


def _local_model(options: Options) -> Played:
    made = local_model.measure(documents=options.documents or (20 if options.quick else 100))
    return Played(
        figures={
            "results": made.results,
            "dead_letters": made.dead_letters,
            "documents_per_hour": made.documents_per_hour,
            "output_tokens_per_second": made.output_tokens / made.seconds,
        }
    )


def _long_document(_options: Options) -> Played:
    done = long_document.measure()
    tenths = ", ".join(map(str, done.tenths))
    return Played(
        figures={"calls": done.result["attempts"], "seconds": done.seconds},
        note=f"tenths of the document it speaks of: {tenths}. {done.result['outputs']['summary']}",
    )


def _steadiness(options: Options) -> Played:
    samples = steadiness.measure(minutes=3.0 if options.quick else options.minutes)
    values = {figure: [getattr(sample, figure) for sample in samples] for figure in steadiness.FIGURES}
    return Played(
        figures={figure: steadiness.last_to_first(seen) for figure, seen in values.items()},
        note=". ".join(f"{figure} {steadiness.spark(seen)}" for figure, seen in values.items()),
    )


def _once(setup: str, measure: Callable[[Options], Played]) -> Callable[[Stage, Options], Iterator[Case]]:
    def cases(_stage: Stage, options: Options) -> Iterator[Case]:
        yield Case(setup=setup, contender=_NO_CONTENDER, play=lambda: measure(options))

    return cases


def _odd_answers(_stage: Stage, _options: Options) -> Iterator[Case]:
    for name in odd_answers.ANSWERS:
        yield Case(setup=name, contender=_NO_CONTENDER, play=lambda name=name: _odd_answer(name))  # type: ignore[misc]


def _odd_answer(name: str) -> Played:
    odd = odd_answers.measure(name)
    pause = {} if odd.pause_seconds is None else {"pause_seconds": odd.pause_seconds}
    return Played(figures={**pause, "seconds": odd.seconds, "peak_mib": odd.peak_mib}, note=odd.outcome)


PARTS = (
    Part(
        name="local-model",
        caption="The demo's model, fused.",
        columns=(
            Column(figure="results", title="results"),
            Column(figure="dead_letters", title="dead letters"),
            Column(figure="documents_per_hour", title="documents an hour"),
            Column(figure="output_tokens_per_second", title="output tokens a second"),
        ),
        cases=_once("smollm2-135m", _local_model),
        rounds=1,
    ),
    Part(
        name="long-document",
        caption="The demo's model, with a context of 8,192 tokens.",
        columns=(Column(figure="calls", title="calls"), Column(figure="seconds", title="seconds")),
        cases=_once("40 pages", _long_document),
        rounds=1,
    ),
    Part(
        name="odd-answers",
        caption="Answers that are large or strange, each asked for once. No pause: it never ended.",
        columns=(
            Column(figure="pause_seconds", title="longest pause of the loop, s", digits=3),
            Column(figure="seconds", title="read after, s", digits=3),
            Column(figure="peak_mib", title="memory, MiB"),
        ),
        cases=_odd_answers,
        rounds=1,
    ),
    Part(
        name="steadiness",
        caption="Rare faults of every kind. Each figure: the last third over the first.",
        columns=tuple(Column(figure=figure, title=figure.replace("_", " "), digits=3) for figure in steadiness.FIGURES),
        cases=_once("faults", _steadiness),
        rounds=1,
    ),
)
