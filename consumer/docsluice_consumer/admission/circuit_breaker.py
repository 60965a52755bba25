"""Whether a provider is well, from how its calls end. Pure: time is passed in, in seconds that never go back.

    closed ── faults in a row, an empty account, a refusal of all calls ──► open ── a probe was answered ──► closed

While it is open nobody goes out but a probe, which is one document's call like any other.
"""

from __future__ import annotations

_FAULTS_IN_A_ROW = 5
_TIMES_THE_WORST, _MOST_FAULTS_IN_A_ROW = 2.0, 100
"""Where nine calls in ten fail, five in a row are nothing new: an answer has come after more before."""
_KEPT = 0.9
"""With each answer the worst of late is forgotten by so much."""
_LONG_ROW_SECONDS = 10.0
"""Faults all the while are an outage whatever was before it, though calls be so few that there are not many."""
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 2.0
"""So that work is back to its full rate within seconds of an outage's end, at a price of thirty calls a minute."""
_SHUT_PAUSE_SECONDS = 10.0
_LONGEST_SHUT_PAUSE_SECONDS = 60.0
"""A word about a day's quota may be wrong. It is tried once a minute whether it still holds."""
_LONGEST_PAID_PAUSE_SECONDS = 60.0
"""A probe whose answer cannot be read may be paid for."""
_PROBE_PATIENCE_SECONDS = 10.0
"""A probe that hangs must not hide for a whole request timeout that the provider is back: then another one goes out."""


class CircuitBreaker:
    """One model's."""

    def __init__(self) -> None:
        self._faults = 0
        """Since the last answer."""
        self._row_began = 0.0
        self._worst_faults = 0.0
        """The most that an answer has come after, of late."""
        self._pause_seconds = 0.0
        self._opened_for: str | None = None
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether only probes go out."""
        return self._opened_for is not None

    @property
    def opened_for(self) -> str | None:
        """Why it is open: `faults`, `quota` or `refusals`. None when it is closed."""
        return self._opened_for

    def answered(self, *, is_probe: bool) -> bool:
        """A call was answered, though it be with a refusal. Whether that closes the circuit.

        Answers to calls that went out before it opened say nothing about now.
        """
        if self.is_open and not is_probe:
            return False
        was_open, self._opened_for = self.is_open, None
        self._worst_faults = max(self._faults, _KEPT * self._worst_faults)
        self._faults = 0
        return was_open

    def failed(self, *, is_probe: bool, now: float, is_paid: bool = False) -> bool:
        """A call met a fault of the provider's, and may have been paid for. Whether that opens the circuit."""
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
        """A call was told what holds for all of them: the account is empty, or refused. Whether that opens the circuit.

        `pause_seconds` is the provider's own word on when to ask again.
        """
        pause_seconds = min(max(_SHUT_PAUSE_SECONDS, pause_seconds or 0.0), _LONGEST_SHUT_PAUSE_SECONDS)
        if self._opened_for == reason:
            self._probe_at = now + pause_seconds
            return False
        return self._open(reason, pause_seconds, now)

    def wait_seconds(self, *, now: float) -> float:
        """How long until a call may go out. 0 when it may now."""
        return max(0.0, self._probe_at - now) if self.is_open else 0.0

    def sent(self, *, now: float) -> bool:
        """A call goes out. Whether it is a probe: then the next one waits for its end."""
        if self.is_open:
            self._probe_at = now + _PROBE_PATIENCE_SECONDS
        return self.is_open

    def given_up(self, *, now: float) -> None:
        """A probe was cancelled before its end: another one may go out at once."""
        self._probe_at = min(self._probe_at, now)

    def _open(self, reason: str, pause_seconds: float, now: float) -> bool:
        was_open, self._opened_for = self.is_open, reason
        self._pause_seconds = pause_seconds
        self._probe_at = now + pause_seconds
        return not was_open
