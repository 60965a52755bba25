"""What the log says when a model is held back, and when it is well again."""

from __future__ import annotations

import structlog

from consumer.model_ref import ModelRef

log = structlog.get_logger(__name__)

_CIRCUIT_REMEDIES = {
    "faults": "call after call has failed; one is tried every few seconds until one is answered; documents "
    "wait, or go to the next model of their task",
    "quota": "the account is empty: pay, or raise its limit; one call is tried every ten seconds; documents "
    "wait, or go to the next model of their task",
    "refusals": "the provider refuses all calls, as provider.refuses says; one is tried every ten seconds; documents "
    "wait, or go to the next model of their task",
}


def say_circuit(model: ModelRef, reason: str | None) -> None:
    """A model's circuit has opened for a reason, or, with None, has closed."""
    if reason is None:
        log.warning("circuit.closed", model=str(model))
    else:
        log.error("circuit.opened", model=str(model), reason=reason, remedy=_CIRCUIT_REMEDIES[reason])


def say_gate(model: ModelRef, seconds: float) -> None:
    """A model's provider has asked for a long pause."""
    log.warning(
        "gate.closed", model=str(model), seconds=round(seconds), remedy="the provider has asked for a long pause"
    )
