"""What the provider was asked and what it did: the other side of a client's own figures."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_REMEMBERED_CALLS = 200_000


@dataclass(kw_only=True)
class Call:
    """One call. Times are seconds since the epoch.

    Attributes:
        status: the HTTP status; 0 when the client got none (a broken connection, or it gave up first).
        fault: the name of the fault that the call met, if any; a limit that was really exceeded is none.
        latency_seconds: the latency that was drawn for it.
        reserved_tokens: what was counted against the minute's limit before it ran.
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
    reserved_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class CallLog:
    """The latest calls, oldest first, those under way included."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_REMEMBERED_CALLS)
        self._in_flight = 0
        self.most_in_flight = 0

    def __iter__(self) -> Iterator[Call]:
        """All calls that are remembered."""
        return iter(list(self._calls))

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._calls)

    def clear(self) -> None:
        """Forget the calls so far."""
        self._calls.clear()
        self.most_in_flight = self._in_flight

    @contextmanager
    def under_way(self) -> Iterator[Call]:
        """Log a call that begins with the block and ends with it."""
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        call = Call(started_at=time.time(), in_flight=self._in_flight)
        self._calls.append(call)
        try:
            yield call
        finally:
            self._in_flight -= 1
            call.ended_at = time.time()
