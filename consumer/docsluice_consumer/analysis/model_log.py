"""Log lines for a model that is held back, or well again."""

from __future__ import annotations

from typing import Any

import structlog

from docsluice.text.durations import in_words
from docsluice_consumer.errors import AttemptFailed, CallRefused, DocsluiceError, QuotaExhausted
from docsluice_consumer.llm.retry_after import LONGEST_SECONDS
from docsluice_consumer.model_ref import ModelRef

log = structlog.get_logger(__name__)

_DOCUMENTS_WAIT = "documents wait, or go to the next model of their task"
_CIRCUIT_REMEDIES = {
    "faults": "call after call has failed; one is tried every few seconds until one is answered; if it lasts, look at "
    "the cause, the provider's status page and the way to it",
    "quota": "the account is empty: pay, or raise its limit; one call is tried every ten seconds",
    "refusals": "the provider refuses all calls, as provider.refuses says; one is tried every ten seconds",
}
_PERIODS = ((30 * 86_400.0, "month", "a month"), (7 * 86_400.0, "week", "a week"), (86_400.0, "day", "a day"))
_SHORTEST_PERIOD = ("hour", "an hour")


def say_circuit(model: ModelRef, reason: str | None, fault: DocsluiceError | None) -> None:
    """Log that a model's circuit has opened, with the reason and the last fault, or closed, with None twice."""
    if reason is None:
        log.warning("circuit.closed", model=str(model))
        return
    log.error("circuit.opened", model=str(model), reason=reason, **_why_open(reason, fault))


def say_gate(model: ModelRef, seconds: float) -> None:
    """Log that a model's provider has asked for a long pause."""
    log.warning(
        "gate.closed", model=str(model), seconds=round(seconds), remedy="the provider has asked for a long pause"
    )


def _why_open(reason: str, fault: DocsluiceError | None) -> dict[str, Any]:
    """The cause, in words that quote no document, and what a person can do."""
    remedy, fields = _CIRCUIT_REMEDIES[reason], {}
    if isinstance(fault, AttemptFailed):
        fields["cause"] = fault.cause
    match fault:
        case CallRefused():
            remedy = f"{fault.remedy}; one call is tried every ten seconds"
        case QuotaExhausted(period_seconds=float(period)):
            return {**fields, **_of_a_long_quota(period, fault.retry_after_seconds)}
    return {**fields, "remedy": f"{remedy}; {_DOCUMENTS_WAIT}"}


def _of_a_long_quota(period_seconds: float, back_in_seconds: float | None) -> dict[str, Any]:
    name, words = next(((name, words) for least, name, words in _PERIODS if period_seconds >= least), _SHORTEST_PERIOD)
    fields: dict[str, Any] = {"quota": name}
    if back_in_seconds is None:
        back = "by itself, and the provider does not say when"
    else:
        fields["back_in_seconds"] = round(back_in_seconds)
        more = " or more" if back_in_seconds >= LONGEST_SECONDS else ""
        back = f"by itself, in {in_words(back_in_seconds)}{more}, the provider says"
    remedy = (
        f"the quota of {words} is used up; it comes back {back}; one call is tried every few minutes; to go on earlier,"
        f" have the quota raised at the provider; {_DOCUMENTS_WAIT}"
    )
    return {**fields, "remedy": remedy}
