"""The provider's log of calls: the other side of a client's own figures."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from docsluice_local.rehearsal.limits import Limited

_REMEMBERED_CALLS = 200_000


@dataclass(kw_only=True)
class Call:
    """One call. Times are seconds since the epoch.

    Attributes:
        status: the HTTP status. 0 when the client got none (a broken connection, or it gave up first).
        fault: the name of the fault that the call met, if any. A limit that was really exceeded is none.
        latency_seconds: the latency that was drawn for it.
        limited_by: the limit that was exceeded and so refused it, if any.
        reserved_input_tokens: what was counted against the minute's limits before it ran. 0 where it was refused.
            Instead of it, a call with the status 200 counts its prompt and completion tokens from its end on.
        reserved_output_tokens: the same for output.
        in_flight: how many calls were being answered when this one came, itself included.
        attempt: how often this very request has come, counted from 1.
        document: a hash of the document's text.
        task: the schema's name, else a hash of the system messages.
    """

    started_at: float
    in_flight: int
    ended_at: float | None = None
    status: int = 0
    fault: str | None = None
    error_code: str | None = None
    model: str | None = None
    task: str | None = None
    document: str | None = None
    attempt: int = 0
    latency_seconds: float = 0.0
    limited_by: str | None = None
    reserved_input_tokens: int = 0
    reserved_output_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class LimitsInForce:
    """The limits a minute from one moment on, in seconds since the epoch."""

    since: float
    per_minute: Mapping[Limited, float]


class CallLog:
    """The latest calls, oldest first, those under way included, and the limits that they were measured by.

    Attributes:
        most_in_flight: the most calls that were under way at once.
        statuses: how many calls have ended with each status. 0 where the client got none.
        limits: the limits since the start, the latest last.
    """

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_REMEMBERED_CALLS)
        self.in_flight = 0
        self.most_in_flight = 0
        self.statuses: Counter[int] = Counter()
        self.limits: list[LimitsInForce] = []

    def __iter__(self) -> Iterator[Call]:
        """All calls that are remembered."""
        return iter(list(self._calls))

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._calls)

    def clear(self) -> None:
        """Forget the calls so far."""
        self._calls.clear()
        self.statuses.clear()
        self.limits = self.limits[-1:]
        self.most_in_flight = self.in_flight

    def note_limits(self, per_minute: Mapping[Limited, float]) -> None:
        """These limits are in force from now on."""
        self.limits.append(LimitsInForce(since=time.time(), per_minute=dict(per_minute)))

    @contextmanager
    def under_way(self) -> Iterator[Call]:
        """Log a call that begins with the block and ends with it."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        call = Call(started_at=time.time(), in_flight=self.in_flight)
        self._calls.append(call)
        try:
            yield call
        finally:
            self.in_flight -= 1
            call.ended_at = time.time()
            self.statuses[call.status] += 1
