"""Dollars an hour and a day. Pure: time is passed in, in seconds since the epoch, so that windows survive a restart."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

HOUR_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
_NOTHING, _ALL = Decimal(0), Decimal(1)


class Spent(NamedTuple):
    """What was spent in one window."""

    window: str
    began_at: float
    usd: Decimal


@dataclass(slots=True, kw_only=True)
class _Window:
    name: str
    seconds: float
    cap_usd: Decimal
    began_at: float = 0.0
    spent_usd: Decimal = _NOTHING
    share: Decimal = _ALL
    """Our share of this window's cap."""
    present_share: Decimal | None = None
    """Our share of the next windows' caps. None until it is known."""
    is_known: bool = False
    """Whether what was spent in this window before our start is known."""
    before: tuple[float, Decimal, Decimal] = (0.0, _NOTHING, _ALL)
    """The window before: when it began, what was spent in it, and our share of it."""

    def roll(self, now: float) -> None:
        """Begin the window that `now` is in. Windows are aligned to the epoch, so hours and days are those of UTC.

        If a clock was ahead and went back, spending stays counted, from before and from meanwhile.
        """
        begin = now // self.seconds * self.seconds
        if begin > self.began_at:
            self.before = (self.began_at, self.spent_usd, self.share)
            self.spent_usd, self.is_known = _NOTHING, False
            self.share = _ALL if self.present_share is None else self.present_share
        elif begin == self.before[0] < self.began_at:
            self.spent_usd += self.before[1]
            self.share = self.before[2]
        self.began_at = begin

    def set_share(self, share: Decimal, *, now: float) -> None:
        """Set another share from now on. For the past part of this window the share stays what it was.

        A new replica has no share of the past part, for others may have spent it, unless it is alone.
        """
        self.roll(now)
        was = self.present_share
        if was is None:
            was = self.share = share if self.is_known or share == _ALL else _NOTHING
        left = Decimal(str(1 - (now - self.began_at) / self.seconds))
        self.share += (share - was) * left
        self.present_share = share


class Budget:
    """Keeps spending, and the expected cost of calls in flight, below each window's cap.

    A call goes out while both together leave room for its expected cost. So spending can pass the cap only by what the
    calls in flight were underestimated. In a window without spending, one call may always go out, however small the
    cap. Otherwise nothing ever would. If the cap is shared, one call that is larger than our share may pass the share,
    though not the cap. Otherwise all calls behind it would wait with most of the share unspent.
    """

    def __init__(self, *, usd_per_hour: Decimal | None = None, usd_per_day: Decimal | None = None) -> None:
        caps = (("hour", HOUR_SECONDS, usd_per_hour), ("day", DAY_SECONDS, usd_per_day))
        self._windows = [_Window(name=name, seconds=s, cap_usd=cap) for name, s, cap in caps if cap is not None]
        self._reserved_usd = _NOTHING

    @property
    def is_set(self) -> bool:
        """Whether there is any cap."""
        return bool(self._windows)

    def set_share(self, share: float, *, now: float) -> None:
        """Set our share of every cap from now on."""
        for window in self._windows:
            window.set_share(Decimal(str(share)), now=now)

    def restore(self, spent: Spent) -> None:
        """Go on from what was spent before a restart. A window other than the present one is forgotten."""
        for window in self._windows:
            if window.name == spent.window and spent.began_at >= window.began_at:
                window.began_at, window.spent_usd, window.is_known = spent.began_at, spent.usd, True

    def wait_seconds(self, cost_usd: Decimal, *, now: float) -> float:
        """Seconds until a call may go out. 0 if it may now."""
        return max((self._wait(window, cost_usd, now) for window in self._windows), default=0.0)

    def reserve(self, cost_usd: Decimal) -> None:
        """Reserve the expected cost of a call that goes out."""
        self._reserved_usd += cost_usd

    def settle(self, reserved_usd: Decimal, actual_usd: Decimal, *, now: float) -> None:
        """Replace what was reserved for a call by what it has cost."""
        self._reserved_usd -= reserved_usd
        for window in self._windows:
            window.roll(now)
            window.spent_usd += actual_usd

    def spent(self, *, now: float) -> list[Spent]:
        """What was spent in the present windows."""
        for window in self._windows:
            window.roll(now)
        return [Spent(window.name, window.began_at, window.spent_usd) for window in self._windows]

    def spent_ratios(self, *, now: float) -> dict[str, float]:
        """By window, spending divided by our share of the cap.

        Above 1 if calls cost more than expected, or if our share has shrunk since.
        """
        ratios = {}
        for window in self._windows:
            window.roll(now)
            cap = window.cap_usd * window.share
            ratios[window.name] = float(window.spent_usd / cap) if cap > 0 else 0.0
        return ratios

    def _wait(self, window: _Window, cost_usd: Decimal, now: float) -> float:
        window.roll(now)
        committed, ours = window.spent_usd + self._reserved_usd, window.cap_usd * window.share
        if committed == 0 or committed + cost_usd <= ours:
            return 0.0
        # It would pass our share in any window, so there is nothing to wait for.
        if committed < ours < cost_usd and committed + cost_usd <= window.cap_usd:
            return 0.0
        return window.began_at + window.seconds - now
