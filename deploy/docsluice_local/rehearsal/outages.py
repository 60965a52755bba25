"""Trouble on demand while the provider runs: outages and fault rates, set from a test or over HTTP."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from docsluice_local.rehearsal.faults import Fault, Trouble, fault_named
from docsluice_local.rehearsal.judge import ALL_MODELS, Judge

REFUSED = "refused"
"""The outage in which nobody listens on the port."""


class Outages:
    """Begins and ends outages, of all models or of one.

    `on_refused(seconds)` closes the port for so long, where somebody can do that. `released` is what calls that meet
    `Fault.HOLD` wait for.
    """

    def __init__(self, *, judge: Judge) -> None:
        self.on_refused: Callable[[float], None] | None = None
        self.released = asyncio.Event()
        self._judge = judge
        self._ends: dict[str | None, asyncio.TimerHandle] = {}

    def order(self, body: Mapping[str, Any]) -> None:
        """Do what the body of POST /rehearsal/faults says.

        Raises:
            ValueError: it names a fault that does not exist, a rate that is none, or leaves out what is needed.
        """
        if unknown := set(body) - {"outage", "seconds", "model", "rates"}:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if "rates" in body:
            self.set_rates({self._named(name): float(rate) for name, rate in body["rates"].items()})
        if "outage" in body:
            model, seconds = body.get("model"), body.get("seconds")
            if body["outage"] is None:
                self.end(model=model)
            else:
                self.begin(body["outage"], seconds=None if seconds is None else float(seconds), model=model)

    def set_rates(self, rates: Mapping[Trouble, float]) -> None:
        """From now on, this share of the calls fails in these ways.

        Raises:
            ValueError: a rate is negative, or together they are more than 1.
        """
        if min(rates.values(), default=0) < 0 or sum(rates.values()) > 1:
            raise ValueError("rates must not be negative, nor more than 1 together")
        self._judge.fault_rates = dict(rates)

    def begin(self, outage: Trouble | str, *, seconds: float | None = None, model: str | None = ALL_MODELS) -> None:
        """Let every call from now on, or every call of one model, meet this fault, for `seconds` or until `end`.

        It takes the place of the outage that the model has, if any. One of all models goes before those of single ones.

        Raises:
            ValueError: there is no such fault, or `refused` was asked for without seconds or for one model.
        """
        # A connection that is open already cannot be refused any more, but it can break.
        fault = Fault.RESET if outage == REFUSED else self._named(outage)
        if outage == REFUSED:
            if self.on_refused is None or seconds is None or model is not ALL_MODELS:
                raise ValueError("a refused connection needs seconds, a server of its own, and no model")
            self.on_refused(seconds)
        self.end(model=model)
        self._judge.outages[model] = fault
        if seconds is not None:
            self._ends[model] = asyncio.get_running_loop().call_later(seconds, lambda: self.end(model=model))

    def end(self, *, model: str | None = ALL_MODELS) -> None:
        """Let calls pass again, as far as no other outage holds them."""
        self._judge.outages.pop(model, None)
        if (alarm := self._ends.pop(model, None)) is not None:
            alarm.cancel()

    def clear(self) -> None:
        """End every outage, and fail as often as the settings say."""
        for model in list(self._judge.outages):
            self.end(model=model)
        self._judge.fault_rates = dict(self._judge.settings.fault_rates)

    def _named(self, name: str) -> Trouble:
        return fault_named(name, self._judge.settings.character)
