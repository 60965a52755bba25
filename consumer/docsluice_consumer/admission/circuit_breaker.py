"""A circuit breaker: whether a model is well, from how its calls end. Pure: time is passed in, in monotonic seconds.

    closed ── faults in a row, an empty account, a refusal of all calls ──► open ── a probe was answered ──► closed

While it is open, only a probe goes out. A probe is one document's call like any other.
"""

from __future__ import annotations

_FAULTS_IN_A_ROW = 5
_TIMES_THE_WORST, _MOST_FAULTS_IN_A_ROW = 2.0, 100
"""If nine calls in ten fail, five faults in a row are normal: answers have come after longer rows."""
_KEPT = 0.9
"""Each answer shrinks the longest row remembered by this factor."""
_LONG_ROW_SECONDS = 10.0
"""Only faults for this long are an outage, even if calls are so rare that there are few of them."""
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 2.0
"""Work is then back at its full rate within seconds of an outage's end, for thirty calls a minute."""
_SHUT_PAUSE_SECONDS = 10.0
_LONGEST_SHUT_PAUSE_SECONDS = 60.0
"""A message about a day's quota may be wrong, so one call a minute tries it."""
_LONGEST_PAID_PAUSE_SECONDS = 60.0
"""A probe whose answer cannot be read may be paid for."""
_PROBE_TIMEOUT_SECONDS = 10.0
"""A probe that hangs must not hide for a whole request timeout that the provider is back. Then another one goes out."""


class CircuitBreaker:
    """The circuit breaker of one model."""

    def __init__(self) -> None:
        self._faults = 0
        """Faults since the last answer."""
        self._row_began = 0.0
        self._worst_faults = 0.0
        """The longest row of faults that an answer has lately ended."""
        self._pause_seconds = 0.0
        self._opened_for: str | None = None
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether only probes go out."""
        return self._opened_for is not None

    @property
    def opened_for(self) -> str | None:
        """Why it is open: `faults`, `quota` or `refusals`. None if it is closed."""
        return self._opened_for

    def answered(self, *, is_probe: bool) -> bool:
        """Note an answer, even a refusal. Returns whether that closes the circuit.

        Answers to calls that went out before it opened say nothing about now.
        """
        if self.is_open and not is_probe:
            return False
        was_open, self._opened_for = self.is_open, None
        self._worst_faults = max(self._faults, _KEPT * self._worst_faults)
        self._faults = 0
        return was_open

    def failed(self, *, is_probe: bool, now: float, is_paid: bool = False) -> bool:
        """Note a fault of the provider. `is_paid`: the call may be paid for. Returns whether that opens the circuit."""
        self._row_began = self._row_began if self._faults else now
        self._faults += 1
        if self.is_open:
            if is_probe:
                longest = _LONGEST_PAID_PAUSE_SECONDS if is_paid else _LONGEST_PAUSE_SECONDS
                self._pause_seconds = min(longest, self._pause_seconds * 2)
                self._probe_at = now + self._pause_seconds
            return False
        is_long = now - self._row_began >= _LONG_ROW_SECONDS
        usual = 0.0 if is_long else min(_MOST_FAULTS_IN_A_ROW, _TIMES_THE_WORST * self._worst_faults)
        return self._faults >= max(_FAULTS_IN_A_ROW, usual) and self._open("faults", _FIRST_PAUSE_SECONDS, now)

    def shut(self, reason: str, *, now: float, pause_seconds: float | None = None) -> bool:
        """Note an answer that holds for all calls: the account is empty, or refused.

        Returns whether that opens the circuit.

        `pause_seconds` is the provider's own word on when to retry.
        """
        pause_seconds = min(max(_SHUT_PAUSE_SECONDS, pause_seconds or 0.0), _LONGEST_SHUT_PAUSE_SECONDS)
        if self._opened_for == reason:
            self._probe_at = now + pause_seconds
            return False
        return self._open(reason, pause_seconds, now)

    def wait_seconds(self, *, now: float) -> float:
        """Seconds until a call may go out. 0 if it may now."""
        return max(0.0, self._probe_at - now) if self.is_open else 0.0

    def sent(self, *, now: float) -> bool:
        """Note that a call goes out. Returns whether it is a probe: the next one then waits for its end."""
        if self.is_open:
            self._probe_at = now + _PROBE_TIMEOUT_SECONDS
        return self.is_open

    def given_up(self, *, now: float) -> None:
        """Note that a probe was cancelled before its end. Another one may go out at once."""
        self._probe_at = min(self._probe_at, now)

    def _open(self, reason: str, pause_seconds: float, now: float) -> bool:
        was_open, self._opened_for = self.is_open, reason
        self._pause_seconds = pause_seconds
        self._probe_at = now + pause_seconds
        return not was_open
