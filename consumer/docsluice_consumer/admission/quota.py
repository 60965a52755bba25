"""One limit a minute, from all that is known of it: the setting, the provider's word, our share.

Pure: time is passed in, in monotonic seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from docsluice.messages import Usage
from docsluice_consumer.admission.adaptive_rate import AdaptiveRate
from docsluice_consumer.admission.leased_bucket import LeasedBucket
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.admission.token_bucket import TokenBucket

REQUESTS = "requests"
INPUT_TOKENS = "input_tokens"
OUTPUT_TOKENS = "output_tokens"
TOKENS = "tokens"
QUOTAS = (REQUESTS, TOKENS, INPUT_TOKENS, OUTPUT_TOKENS)
_BOUND_SHARE = 0.5
"""A share of the burst. With more, a limit would be used slowly until the first calls come back."""
_LATE_BURST_SECONDS = 0.7
"""Providers allow a second's worth. The rest is for answers that they have counted and we have not read yet."""
_ANYTHING = 1.0

_BELIEVED_SECONDS = 60.0
"""An answer may name a limit that is none. After a minute, an answer that does not repeat it ends it.

If a limit is so low that nothing was answered for this long, one call goes out to have it said again.
"""


class Reserved(NamedTuple):
    """What one limit keeps for a call in flight. `output` is the part of `amount` that is for its answer."""

    amount: float = 0.0
    output: float = 0.0


class Quota:
    """One limit a minute. Without any known limit, everything passes.

    `configured` is the setting, `said` is what the provider names, and `pace`, for requests, is what refusals have
    taught. The lowest counts. `key` is the name under which replicas share it through one place. Without a key each
    replica keeps its share.

    Some providers count an answer when its call comes, by its bound, and correct that when the call ends. Others count
    it when the call ends, or a part of it. So a limit on input and output together is counted twice. `_bucket` counts
    an answer first, and `_late` counts it at its end. If both let a call through, no provider between the two refuses
    it. A limit on output alone is counted first only. To wait for answers that end would not lessen them.
    """

    def __init__(
        self,
        *,
        name: str,
        now: float,
        configured: float | None = None,
        learns_pace: bool = False,
        key: str | None = None,
    ) -> None:
        self.name = name
        self.key = key
        self._known = {"configured": configured} if configured is not None else {}
        self._pace = AdaptiveRate() if learns_pace else None
        self._share = 1.0
        self._is_shared = False
        self._reported_at = self._tried_at = now
        self._bucket: TokenBucket | LeasedBucket | None = None
        self._late: TokenBucket | None = None
        self._refresh(now)

    @property
    def learns_pace(self) -> bool:
        """Whether it learns from refusals, not from limits that the provider names."""
        return self._pace is not None

    def reported(self, per_minute: float, *, now: float) -> None:
        """Note what the provider allows the whole account."""
        self._reported_at = now
        if self._known.get("said") != per_minute:
            self._known["said"] = per_minute
            self._refresh(now)

    def not_reported(self, *, now: float) -> None:
        """Note an answer that does not name the limit. An old word of the provider is then forgotten."""
        if "said" in self._known and now - self._reported_at >= _BELIEVED_SECONDS:
            del self._known["said"]
            self._refresh(now)

    def answered(self, *, now: float) -> None:
        """A call was answered."""
        if self._pace:
            self._pace.answered(now=now)
            self._refresh(now)

    def refused(self, *, now: float) -> int:
        """Note a call refused for its pace. Returns how many calls should tell whether the lower pace helps."""
        if self._pace is None:
            return 0
        calls = self._pace.refused(now=now)
        self._refresh(now)
        return calls

    def judged(self, *, is_limit: bool, now: float) -> None:
        """Note whether the lower pace has helped."""
        if self._pace:
            self._pace.judged(is_limit=is_limit, now=now)
            self._refresh(now)

    def set_share(self, share: float, *, now: float) -> None:
        """Set our share of the account's limit: above 0, at most 1."""
        self._share = share
        self._refresh(now)

    def set_shared(self, is_shared: bool, *, now: float) -> None:  # noqa: FBT001 - it is the whole message
        """Say whether one place grants the limit to all replicas, or our share is ours alone."""
        self._is_shared = is_shared
        self._refresh(now)

    @property
    def leased_bucket(self) -> LeasedBucket | None:
        """The bucket of grants in hand, if the limit is shared."""
        return self._bucket if isinstance(self._bucket, LeasedBucket) else None

    @property
    def configured(self) -> float | None:
        """The limit that a person has set."""
        return self._known.get("configured")

    @property
    def whole(self) -> float | None:
        """The account's limit a minute, as far as it is known."""
        return min(self._known.values(), default=None)

    def for_all(self, *, now: float) -> float | None:
        """The same, but a learned pace is ours, so it is divided by our share."""
        pace = self._pace.per_minute(now=now) if self._pace else None
        return min((limit for limit in (self.whole, pace and pace / self._share) if limit is not None), default=None)

    @property
    def per_minute(self) -> float | None:
        """Our part of the limit now. None without a limit."""
        return self._bucket.per_minute if self._bucket else None

    def amount(self, usage: Usage) -> int:
        """How much of this limit a call takes."""
        return self._amount(usage.input_tokens, usage.output_tokens)

    def needed(self, request: CallRequest) -> int:
        """How much must be there for a call to go out: what it is expected to take."""
        return self.amount(request.usage)

    def reservation(self, request: CallRequest) -> Reserved:
        """How much to reserve for a call when it goes out. What is not there becomes a debt.

        Providers count an answer's bound before the call runs, and its real size only after it. Calls that go out
        faster than others come back would be refused, though together they use less than is allowed. So the bound is
        reserved too, up to a part of the burst. A call without one is bound by its model only, which is far more.
        """
        usage = request.usage
        output = usage.output_tokens
        if self._bucket is not None:
            bound = math.inf if request.output_bound is None else request.output_bound
            output = max(output, int(min(bound, self._bucket.burst * _BOUND_SHARE)))
        amount = self._amount(usage.input_tokens, output)
        return Reserved(amount, amount - self._amount(usage.input_tokens, 0))

    def wait_seconds(self, request: CallRequest, *, now: float) -> float:
        """Seconds until a call may go out. 0 if it may now. Infinite until it is granted. See `LeasedBucket`.

        A provider's word holds for a minute.
        """
        if self._bucket is None:
            return 0.0
        return min(self._full_wait_seconds(request, now), self._believed_seconds(now))

    def reserve(self, request: CallRequest, *, now: float) -> Reserved:
        """Take what a call may use. Returns how much was taken: nothing while no limit is known."""
        if self._bucket is None:
            return Reserved()
        if self._full_wait_seconds(request, now):
            self._tried_at = now
        reserved = self.reservation(request)
        self._bucket.take(reserved.amount, now=now)
        if self._late:
            self._late.take(reserved.amount - reserved.output, now=now)
        return reserved

    def settle(self, reserved: Reserved, used: float | None, *, now: float) -> None:
        """Count what a call has used instead of what was reserved for it. None counts the reservation as used."""
        if used is None:
            used = reserved.amount
        if self._bucket:
            self._bucket.give_back(reserved.amount - used, now=now)
        if self._late:
            self._late.give_back(reserved.amount - reserved.output - used, now=now)

    def available(self, *, now: float) -> float | None:
        """What could be taken at once. None without a limit."""
        if self._bucket is None:
            return None
        available = self._bucket.available(now=now)
        return min(available, self._late.available(now=now)) if self._late else available

    def _full_wait_seconds(self, request: CallRequest, now: float) -> float:
        """The wait, however old the provider's word is."""
        seconds = self._bucket.wait_seconds(self.needed(request), now=now) if self._bucket else 0.0
        return max(seconds, self._late.wait_seconds(_ANYTHING, now=now)) if self._late else seconds

    def _amount(self, input_tokens: int, output_tokens: int) -> int:
        match self.name:
            case "input_tokens":
                return input_tokens
            case "output_tokens":
                return output_tokens
            case "tokens":
                return input_tokens + output_tokens
            case _:
                return 1

    def _believed_seconds(self, now: float) -> float:
        """For how long the provider's word is still believed. Infinite if it is not what holds calls back.

        With a share of the limit, a call takes that much longer.
        """
        if self.whole is None or self.whole != self._known.get("said") or self.whole == self.configured:
            return math.inf
        return max(0.0, max(self._reported_at, self._tried_at) + _BELIEVED_SECONDS / self._share - now)

    def _refresh(self, now: float) -> None:
        # The pace was learned from refusals of our own calls, so all of it is ours, whatever our share.
        pace, whole = self._pace.per_minute(now=now) if self._pace else None, self.whole
        is_leased = self._is_shared and self.key is not None
        shared = None if whole is None else whole * (1.0 if is_leased else self._share)
        ours = min((limit for limit in (pace, shared) if limit is not None), default=None)
        if ours is None:
            self._bucket = self._late = None
        elif self._bucket is None or is_leased != isinstance(self._bucket, LeasedBucket):
            self._begin(ours, now, is_leased=is_leased)
        elif ours != self._bucket.per_minute:
            self._bucket.set_rate(ours, now=now)
            if self._late:
                self._late.set_rate(ours, now=now)

    def _begin(self, per_minute: float, now: float, *, is_leased: bool) -> None:
        """Begin with nothing in hand, but with what was owed."""
        owed = self._bucket.owed(now=now) if self._bucket else 0.0
        self._bucket = LeasedBucket(per_minute=per_minute) if is_leased else TokenBucket(per_minute=per_minute, now=now)
        self._bucket.give_back(-owed, now=now)
        # The one place knows nothing of calls that have not ended, so a shared limit is counted once.
        is_late = self.name == TOKENS and not is_leased
        self._late = TokenBucket(per_minute=per_minute, now=now, burst_seconds=_LATE_BURST_SECONDS) if is_late else None
