"""What this replica has in hand of a limit that all replicas share. Pure: time is passed in, in seconds.

One place counts the limit for all replicas and grants it bit by bit. Grants that are not used soon go back. So does
what was reserved for a call and not used. Only that one place knows how much of it may be used again at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from docsluice_consumer.admission.token_bucket import SECONDS_PER_MINUTE

BURST_SECONDS = 0.7
"""The burst of the one place. Providers allow a second's worth, and replicas may have the rest in hand."""
STOCK_SECONDS = 0.1
"""How much is claimed ahead and may be kept in hand."""
_IDLE_SECONDS = 1.0
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request to the one place, for a limit of `per_minute` over all replicas.

    Attributes:
        wanted: units to be granted as soon as possible.
        needed: units without which no call can go out. None if the rest can wait for its turn.
        returned: units that come back. Negative for units that were used without a grant.
    """

    per_minute: float
    wanted: float
    needed: float
    returned: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a claim was granted. `wait_seconds`: when to claim again what is still needed. 0 if nothing is."""

    amount: float
    wait_seconds: float


class LeasedBucket:
    """Takes the place of a `TokenBucket` if a limit is shared. The wait for what is not in hand is unknown.

    Grants add up, so a request of any size goes out in time. A request larger than a burst goes out for a whole burst,
    and the one place is told of its debt. Grants for a request that was then not made go back.
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
        """What may pass at once, over all replicas."""
        return max(1.0, self.per_minute / SECONDS_PER_MINUTE * BURST_SECONDS)

    @property
    def stock(self) -> float:
        """How much is claimed before it is needed."""
        return self.per_minute / SECONDS_PER_MINUTE * STOCK_SECONDS

    def set_rate(self, per_minute: float, *, now: float) -> None:  # noqa: ARG002 - as a bucket has it
        """Note a changed limit."""
        self.per_minute = per_minute

    def wait_seconds(self, amount: float, *, now: float) -> float:  # noqa: ARG002 - as a bucket has it
        """0 if `amount` is in hand (for more than a burst, a whole burst), else infinity.

        The caller is next in the queue.
        """
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
        """Return what was reserved and not used, to all replicas. A negative amount is owed to them."""
        self._returned += amount

    def available(self, *, now: float) -> float:
        """What is in hand. Negative while in debt."""
        return self._level - self.owed(now=now)

    def owed(self, *, now: float) -> float:  # noqa: ARG002 - as a bucket has it
        """What was used without a grant and may not have been reported yet."""
        return max(0.0, -(min(0.0, self._sent) + self._returned))

    def claim(self, queue: Sequence[float], *, now: float) -> Claim | None:
        """The claim for waiting calls that will take these amounts, in their order. None if there is nothing to claim.

        What it returns counts as reported once `granted` follows.
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
        """Take the answer to a claim."""
        self._sent = 0.0
        self._level += grant.amount
        self._is_in_turn = grant.wait_seconds > 0

    def unanswered(self) -> None:
        """Note that a claim was not answered. Its returns may be counted already. A debt is reported again."""
        self._sent = min(0.0, self._sent)

    def return_all(self) -> None:
        """Stop taking: the next claim returns all that is in hand."""
        self._put_back(self._level)

    def _put_back(self, amount: float) -> None:
        if amount > 0:
            self._level -= amount
            self._returned += amount

    def _put_back_idle(self, target: float, now: float) -> None:
        """Put back what no call has wanted for a while. It may serve others."""
        if self._level <= target:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= _IDLE_SECONDS:
            self._put_back(self._level - target)
