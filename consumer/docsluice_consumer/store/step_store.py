"""What a store of steps keeps, and the protocol of every store."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from docsluice.messages import Long, OutputValue, Usage, Usd


class PaidStep(BaseModel):
    """One step's valid answer, and its usage and cost: failed attempts and repairs included."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    form: Literal[1] = 1
    """The version of this entry. Another version is not read, and the step needs a new call."""
    outputs: dict[str, OutputValue]
    models: dict[str, str]
    """By task, the model that answered."""
    long: Long | None = None
    """What was done about a document too large for one call."""
    usage: Usage = Usage()
    cost_usd: Usd = Decimal(0)

    def written(self) -> bytes:
        """As a store keeps it."""
        return self.model_dump_json().encode()


class NotBelieved(Exception):
    """An entry is not what was put there. The message says why in a few words, and quotes nothing of it."""


class StoreAway(Exception):
    """The store does not answer as it should. The message says why in a few words, without addresses and secrets."""


class StoreUnusable(StoreAway):
    """It does not pass by waiting: a refused password, a missing right, a file that is something else."""


class StepStore(Protocol):
    """Answers by the fingerprint of their question (64 hexadecimal digits). Many tasks may use it at once."""

    async def get(self, fingerprint: str) -> PaidStep | None:
        """Return the entry, unless it is too old.

        Raises:
            StoreAway: the store cannot tell.
            NotBelieved: the entry cannot be used. It does not pass by waiting. A put replaces it.
        """
        ...

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """Keep a step, in place of an older one. Returns when a `kill -9` of this process can no longer lose it.

        It is kept even if nobody waits for it any more.

        Raises:
            StoreAway: it may or may not be kept.
        """
        ...

    async def close(self) -> None:
        """Finish what is being written, and close the connection or the file."""
        ...
