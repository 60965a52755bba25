"""All limits a minute of one account: on requests and on tokens, counted for all models together or for each apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from docsluice_local.rehearsal import replies
from docsluice_local.rehearsal.limiter import MinuteLimit


class Limited(StrEnum):
    """What a limit counts. The value is its name in error bodies and in the call log."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    """Input and output together."""
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What one call takes."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def of(self, what: Limited) -> int:
        """As much of it as this limit counts."""
        match what:
            case Limited.REQUESTS:
                return 1
            case Limited.TOKENS:
                return self.tokens
            case Limited.INPUT_TOKENS:
                return self.input_tokens
            case Limited.OUTPUT_TOKENS:
                return self.output_tokens


@dataclass(frozen=True, kw_only=True)
class Excess:
    """The limit that a call does not fit into. `wait_seconds` is None where no waiting would help."""

    what: Limited
    per_minute: float
    used: float
    requested: int
    wait_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class State:
    """What a provider says of one limit. After `reset_seconds` nothing counts as used."""

    limit: int
    remaining: int
    reset_seconds: float


class Limits:
    """Counts calls against `per_minute`, in windows of `window_seconds`. With `by_model`, each model has all of it."""

    def __init__(
        self, *, per_minute: Mapping[Limited, float], window_seconds: float, by_model: bool, now: float
    ) -> None:
        self.per_minute = dict(per_minute)
        self._window_seconds = window_seconds
        self._by_model = by_model
        self._began_at = now
        self._counted: dict[str | None, dict[Limited, MinuteLimit]] = {}

    def reserve(self, amounts: Amounts, *, model: str, now: float) -> Excess | None:
        """Count a call before it runs, unless it does not fit. One that fails for its tokens has used up a request."""
        limits = self._of(model)
        if Limited.REQUESTS in limits:
            if excess := _excess(Limited.REQUESTS, limits[Limited.REQUESTS], 1, now):
                return excess
            limits[Limited.REQUESTS].take(1, now=now)
        of_tokens = {what: limit for what, limit in limits.items() if what is not Limited.REQUESTS}
        for what, limit in of_tokens.items():
            if excess := _excess(what, limit, amounts.of(what), now):
                return excess
        for what, limit in of_tokens.items():
            limit.take(amounts.of(what), now=now)
        return None

    def settle(self, reserved: Amounts, used: Amounts, *, model: str, now: float) -> None:
        """Count what a call has used instead of what was reserved for it."""
        for what, limit in self._of(model).items():
            if what is not Limited.REQUESTS:
                limit.take(used.of(what) - reserved.of(what), now=now)

    def change(self, per_minute: Mapping[Limited, float | None], *, now: float) -> None:
        """From now on these limits hold. None lifts one, and what is not named stays.

        Raises:
            ValueError: a limit is not more than 0.
        """
        if any(limit is not None and not limit > 0 for limit in per_minute.values()):
            raise ValueError("a limit must be more than 0")
        changed = {**self.per_minute, **per_minute}
        self.per_minute = {what: limit for what, limit in changed.items() if limit is not None}
        for limits in self._counted.values():
            for what in limits.keys() - self.per_minute.keys():
                del limits[what]
            for what, limit in self.per_minute.items():
                if what in limits:
                    limits[what].change(limit, now=now)
                else:
                    limits[what] = self._new(limit, now)

    def states(self, *, model: str | None, now: float) -> dict[Limited, State]:
        """How each limit stands, where there is one."""
        return {
            what: State(
                limit=round(limit.per_minute),
                remaining=limit.remaining(now=now),
                reset_seconds=limit.reset_seconds(now=now),
            )
            for what, limit in self._of(model).items()
        }

    def headers(self, *, model: str | None, now: float) -> dict[str, str]:
        """The `x-ratelimit-*` headers of a reply. None where there is no limit."""
        headers = {}
        for what, state in self.states(model=model, now=now).items():
            name = what.replace("_", "-")
            headers[f"x-ratelimit-limit-{name}"] = str(state.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(state.remaining)
            headers[f"x-ratelimit-reset-{name}"] = replies.duration(state.reset_seconds)
        return headers

    def _of(self, model: str | None) -> dict[Limited, MinuteLimit]:
        key = model if self._by_model else None
        if key not in self._counted:
            # A model that nobody has asked for yet has been idle since the start.
            self._counted[key] = {what: self._new(limit, self._began_at) for what, limit in self.per_minute.items()}
        return self._counted[key]

    def _new(self, per_minute: float, now: float) -> MinuteLimit:
        return MinuteLimit(per_minute=per_minute, window_seconds=self._window_seconds, now=now)


def _excess(what: Limited, limit: MinuteLimit, requested: int, now: float) -> Excess | None:
    never = what is not Limited.REQUESTS and requested > limit.per_minute
    wait_seconds = limit.wait_seconds(now=now)
    if not never and not wait_seconds:
        return None
    return Excess(
        what=what,
        per_minute=limit.per_minute,
        used=limit.per_minute - limit.remaining(now=now),
        requested=requested,
        wait_seconds=None if never else wait_seconds,
    )
