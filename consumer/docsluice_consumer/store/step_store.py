"""What a store of steps keeps, and what every kind of it does: look up what was paid for, and keep what has been."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from docsluice.messages import Long, OutputValue, Usage, Usd


class PaidStep(BaseModel):
    """One step's answer, validated, and what it took to get: failed attempts and repairs included."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    form: Literal[1] = 1
    """Of this entry. One of another release's form is not read. The step then needs a new call."""
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
    """What a store holds is not what was put there. The message says why in a few words, and quotes nothing of it."""


class StoreAway(Exception):
    """The store does not answer as it should. The message says why in a few words, without addresses and secrets."""


class StoreUnusable(StoreAway):
    """It does not pass by waiting: a refused password, a missing right, a file that is something else."""


class StepStore(Protocol):
    """Answers by the fingerprint of what was asked (64 hexadecimal digits). Safe for use by many tasks at once."""

    async def get(self, fingerprint: str) -> PaidStep | None:
        """What is kept under it, unless it is too old.

        Raises:
            StoreAway: there is no knowing.
            NotBelieved: something is, but no step that could be used. It does not pass by waiting. A put replaces it.
        """
        ...

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """Keep it, in place of what was there. Returns when a `kill -9` of this process can no longer lose it.

        It is kept too when nobody waits for it any more.

        Raises:
            StoreAway: it may be kept or not.
        """
        ...

    async def close(self) -> None:
        """Finish what is being written, and close the connection or the file."""
        ...
