"""What people are told of admission: in the log when a model is held back and when it answers again, and in metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from docsluice.text.durations import in_words
from docsluice_consumer.admission.listener import AdmissionListener
from docsluice_consumer.errors import AttemptFailed, CallRefused, DocsluiceError, QuotaExhausted
from docsluice_consumer.llm.retry_after import LONGEST_SECONDS
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.telemetry.metrics import Metrics

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


class AdmissionReport(AdmissionListener):
    """Logs when a model is held back, counts what calls waited for, and sets `change` for whoever claims limits."""

    def __init__(self, *, metrics: Metrics, change: asyncio.Event) -> None:
        self._metrics = metrics
        self._change = change

    def waited(self, constraint: str, seconds: float) -> None:
        """Count it."""
        self._metrics.call_waited(constraint=constraint, seconds=seconds)

    def circuit_opened(self, model: ModelRef, reason: str, fault: DocsluiceError) -> None:
        """Log the cause and the remedy."""
        log.error("circuit.opened", model=str(model), reason=reason, **_why_open(reason, fault))

    def circuit_closed(self, model: ModelRef) -> None:
        """Log it."""
        log.warning("circuit.closed", model=str(model))

    def paused(self, model: ModelRef, seconds: float) -> None:
        """Log it."""
        log.warning(
            "gate.closed", model=str(model), seconds=round(seconds), remedy="the provider has asked for a long pause"
        )

    def changed(self) -> None:
        """Set the event."""
        self._change.set()


def _why_open(reason: str, fault: DocsluiceError) -> dict[str, Any]:
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
