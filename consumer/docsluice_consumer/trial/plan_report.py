"""Plans for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from docsluice.text.durations import in_words
from docsluice.text.printable import counted
from docsluice_consumer.trial.forecast import LEVEL, Duration, Estimate
from docsluice_consumer.trial.planning import Plan, Survey

_UNKNOWN = "unknown"
_LIMITS = {
    "requests": "requests a minute",
    "tokens": "tokens a minute",
    "input_tokens": "input tokens a minute",
    "output_tokens": "output tokens a minute",
    "concurrency": "calls in flight",
}


def head_of(found: Survey, plans: Sequence[Plan]) -> Iterator[str]:
    """What was looked at."""
    said = f"{counted(found.documents, 'document')}, {found.total_bytes:,} bytes of text"
    yield f"about {said}, as the topic's newest records tell" if found.is_scaled else said
    if found.references:
        yield f"{counted(found.references, 'document')} by reference, whose sizes are not known: --live reads a sample"
    if found.passed_over:
        yield f"{counted(found.passed_over, 'record')} would be passed over by input.when"
    if found.unfit:
        yield f"{counted(found.unfit, 'record')} would become dead letters at once: `docsluice check` or `try` says why"
    for plan in plans:
        if plan.stored:
            yield f"{plan.variant.name}: {plan.stored:.0%} of the sample was answered before, and costs nothing"
        if plan.failed:
            yield f"{plan.variant.name}: {plan.failed:.0%} of the sample became dead letters: `docsluice try` says why"


def table_of(plans: Sequence[Plan]) -> Iterator[Sequence[str]]:
    """A head, and a row for each quantity."""
    yield ("", *(plan.variant.name for plan in plans))
    yield ("calls", *(f"{plan.calls:,.0f}" for plan in plans))
    yield ("tokens in", *(_number(plan.input_tokens) for plan in plans))
    yield ("tokens out", *(_number(plan.output_tokens) for plan in plans))
    yield ("dollars", *(_dollars(plan) for plan in plans))
    yield ("takes", *(_time(plan.time) for plan in plans))


def remarks_on(plans: Sequence[Plan], *, is_live: bool) -> Iterator[str]:
    """How sure it is."""
    if not is_live:
        yield "Roughly: four bytes a token, and nothing was asked. --live asks a sample, and tells dollars and hours."
    elif any(plan.sampled for plan in plans):
        yield f"In brackets: where the truth is nine times of ten ({LEVEL:.0%}), if all documents are like these."


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return _UNKNOWN
    if estimate.low == estimate.high:
        return f"{estimate.value:,.0f}"
    return f"{estimate.value:,.0f} ({estimate.low:,.0f} to {estimate.high:,.0f})"


def _dollars(plan: Plan) -> str:
    estimate = plan.usd
    if estimate is None:
        return _UNKNOWN if plan.least_usd is None else f"{plan.least_usd:,.6f}, and the answers"
    digits = 2 if estimate.value >= 1 else 6
    if estimate.low == estimate.high:
        return f"{estimate.value:,.{digits}f}"
    return f"{estimate.value:,.{digits}f} ({estimate.low:,.{digits}f} to {estimate.high:,.{digits}f})"


def _time(time: Duration | None) -> str:
    return _UNKNOWN if time is None else f"{in_words(time.seconds)}, for {_LIMITS[time.limit]}"


def fields_of(found: Survey, plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON."""
    return {
        "models": list(plan.variant.models),
        "mode": plan.variant.mode,
        "documents": found.documents,
        "bytes": found.total_bytes,
        "passed_over": found.passed_over,
        "unfit": found.unfit,
        "sampled": plan.sampled,
        "stored_share": round(plan.stored, 4),
        "failed_share": round(plan.failed, 4),
        "calls": round(plan.calls),
        "input_tokens": _interval(plan.input_tokens),
        "output_tokens": _interval(plan.output_tokens),
        "usd": _interval(plan.usd),
        "least_usd": None if plan.least_usd is None else float(plan.least_usd),
        "seconds": None if plan.time is None else round(plan.time.seconds, 1),
        "limited_by": None if plan.time is None else plan.time.limit,
    }


def _interval(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else {"value": estimate.value, "low": estimate.low, "high": estimate.high}
