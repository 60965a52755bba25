"""What admission tells others."""

from __future__ import annotations

from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.model_ref import ModelRef


class AdmissionListener:
    """Hears of it and does nothing. Override what is wanted; nothing may raise."""

    def waited(self, constraint: str, seconds: float) -> None:
        """A constraint has held calls back for so long, added up over them."""

    def circuit_opened(self, model: ModelRef, reason: str, fault: DocsluiceError) -> None:
        """A model's circuit breaker has opened for `faults`, `quota` or `refusals`, with the last call's fault."""

    def circuit_closed(self, model: ModelRef) -> None:
        """A model answers again."""

    def paused(self, model: ModelRef, seconds: float) -> None:
        """A model's provider has asked for a long pause."""

    def changed(self) -> None:
        """There may be something to claim of the limits that replicas share."""
