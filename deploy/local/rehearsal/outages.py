"""Trouble on demand while the provider runs: outages and fault rates, set from a test or over HTTP."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.rehearsal.faults import Fault, fault_named
from deploy.local.rehearsal.judge import Judge

REFUSED = "refused"
"""The outage in which nobody listens on the port."""


class Outages:
    """Begins and ends outages. `on_refused(seconds)` closes the port for so long, where somebody can do that.

    `let_go` is what calls that meet `Fault.HOLD` wait for.
    """

    def __init__(self, *, judge: Judge) -> None:
        self.on_refused: Callable[[float], None] | None = None
        self.let_go = asyncio.Event()
        self._judge = judge
        self._end: asyncio.TimerHandle | None = None

    def order(self, body: Mapping[str, Any]) -> None:
        """Do what the body of POST /rehearsal/faults says.

        Raises:
            ValueError: it names a fault that does not exist, a rate that is none, or leaves out what is needed.
        """
        if unknown := set(body) - {"outage", "seconds", "rates"}:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if "rates" in body:
            self.set_rates({fault_named(name): float(rate) for name, rate in body["rates"].items()})
        if "outage" in body:
            seconds = body.get("seconds")
            self.begin(body["outage"], seconds=None if seconds is None else float(seconds))

    def set_rates(self, rates: Mapping[Fault, float]) -> None:
        """From now on, this share of the calls fails in these ways.

        Raises:
            ValueError: a rate is negative, or together they are more than 1.
        """
        if min(rates.values(), default=0) < 0 or sum(rates.values()) > 1:
            raise ValueError("rates must not be negative, nor more than 1 together")
        self._judge.fault_rates = dict(rates)

    def begin(self, outage: Fault | str, *, seconds: float | None = None) -> None:
        """Let every call from now on meet this fault, for `seconds` or until `end`.

        Raises:
            ValueError: there is no such fault, or `refused` was asked for without seconds.
        """
        if outage == REFUSED:
            if self.on_refused is None or seconds is None:
                raise ValueError("a refused connection needs seconds, and a server of its own")
            self.on_refused(seconds)
        self.end()
        # A connection that is open already cannot be refused any more, but it can break.
        self._judge.outage = Fault.RESET if outage == REFUSED else fault_named(outage)
        if seconds is not None:
            self._end = asyncio.get_running_loop().call_later(seconds, self.end)

    def end(self) -> None:
        """Let calls pass again."""
        self._judge.outage = None
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def clear(self) -> None:
        """End the outage, and fail as often as the settings say."""
        self.end()
        self._judge.fault_rates = dict(self._judge.settings.fault_rates)
