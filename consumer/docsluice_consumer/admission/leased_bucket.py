"""What this replica has in hand of a limit that all replicas share. Pure: time is passed in, in seconds.

The limit itself is counted elsewhere, in one place for all. From there it is granted bit by bit. What is granted and
not used soon goes back, and so does what was reserved for a call and not used: only the one place knows how much of it
may be used again at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from docsluice_consumer.admission.token_bucket import SECONDS_PER_MINUTE

BURST_SECONDS = 0.7
"""Of what the one place saves up. Providers allow a second's worth. The rest of it replicas may have in hand."""
STOCK_SECONDS = 0.1
"""So much is asked for beforehand, and may be kept in hand."""
_IDLE_SECONDS = 1.0
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What to ask for, and what to give back, of a limit of `per_minute` for all.

    Attributes:
        wanted: units to be granted as soon as possible.
        needed: so many of them are needed for anything to go on. None when the rest can wait for its turn.
        returned: units that come back. Negative for those that were used without having been granted.
    """

    per_minute: float
    wanted: float
    needed: float
    returned: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a claim was granted. `wait_seconds` is when to ask again for what is still needed. 0 when nothing is."""

    amount: float
    wait_seconds: float


class LeasedBucket:
    """Stands in for a `TokenBucket` where a limit is shared: what is not in hand is waited for, nobody knows how long.

    Grants add up, so that a request of any size is met in time: one larger than a burst goes out for a whole burst, and
    its debt is told to the one place. What they were saved up for and then was not taken goes back.
    """

    def __init__(self, *, per_minute: float) -> None:
        self.per_minute = per_minute
        self._level = 0.0
        self._returned = 0.0
        self._sent = 0.0
        self._idle_since: float | None = None
        self._is_in_turn = False

    @property
    def burst(self) -> float:
        """What may pass at once, of all replicas."""
        return max(1.0, self.per_minute / SECONDS_PER_MINUTE * BURST_SECONDS)

    @property
    def stock(self) -> float:
        """How much is asked for before it is needed."""
        return self.per_minute / SECONDS_PER_MINUTE * STOCK_SECONDS

    def set_rate(self, per_minute: float, *, now: float) -> None:  # noqa: ARG002 - as a bucket has it
        """The limit has changed."""
        self.per_minute = per_minute

    def wait_seconds(self, amount: float, *, now: float) -> float:  # noqa: ARG002 - as a bucket has it
        """0 when so much is in hand, or a whole burst for more, else infinity. Whoever asks is next in the queue."""
        amount = min(amount, self.burst)
        self._put_back(self._level - max(self.stock, amount))
        return 0.0 if amount - self._level <= _ROUNDING * max(1.0, amount) else math.inf

    def take(self, amount: float, *, now: float) -> None:  # noqa: ARG002 - as a bucket has it
        """Take it, into debt if need be."""
        self._level -= amount
        if self._level < 0:
            self._returned += self._level
            self._level = 0.0

    def give_back(self, amount: float, *, now: float) -> None:  # noqa: ARG002 - as a bucket has it
        """Return what was reserved and not used, to everybody. A negative amount is owed to them."""
        self._returned += amount

    def available(self, *, now: float) -> float:
        """What is in hand. Negative while in debt."""
        return self._level - self.owed(now=now)

    def owed(self, *, now: float) -> float:  # noqa: ARG002 - as a bucket has it
        """What was used without having been granted, as far as it is not sure that this has been told."""
        return max(0.0, -(min(0.0, self._sent) + self._returned))

    def claim(self, queue: Sequence[float], *, now: float) -> Claim | None:
        """What to ask for when calls wait that will take so much each, in their order. None for nothing.

        What it says to return counts as told once `granted` follows.
        """
        first = min(queue[0], self.burst) if queue else 0.0
        target = max(first, min(sum(queue), self.stock))
        self._put_back(self._level - max(self.stock, target))
        self._put_back_idle(target, now)
        wanted = max(0.0, target - self._level)
        needed = max(0.0, first - self._level)
        self._sent, self._returned = self._sent + self._returned, 0.0
        if wanted <= _ROUNDING and not self._sent and not self._is_in_turn:
            return None
        return Claim(per_minute=self.per_minute, wanted=wanted, needed=needed, returned=self._sent)

    def granted(self, grant: Grant) -> None:
        """The answer to a claim."""
        self._sent = 0.0
        self._level += grant.amount
        self._is_in_turn = grant.wait_seconds > 0

    def unanswered(self) -> None:
        """There is no answer to a claim. What was returned with it may be counted already. A debt is told again."""
        self._sent = min(0.0, self._sent)

    def return_all(self) -> None:
        """Nothing more will be taken: the next claim returns all that is in hand."""
        self._put_back(self._level)

    def _put_back(self, amount: float) -> None:
        if amount > 0:
            self._level -= amount
            self._returned += amount

    def _put_back_idle(self, target: float, now: float) -> None:
        """What nobody has wanted for a while may serve others."""
        if self._level <= target:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= _IDLE_SECONDS:
            self._put_back(self._level - target)
