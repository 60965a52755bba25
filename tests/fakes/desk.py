"""An admission on time that a test moves by hand, and its callers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import asdict
from typing import Any

from docsluice.messages import Usage
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import CallRequest, Limits, MinuteLimits
from docsluice_consumer.admission.listener import AdmissionListener
from docsluice_consumer.admission.permit import Permit
from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.model_ref import ModelRef, model_ref
from tests.fakes.timer import ManualTimer, settled


class Call:
    """One caller: waits for admission, stays until told to end, and notes when each happened."""

    def __init__(self, desk: Desk, ask: CallRequest) -> None:
        self.desk = desk
        self.request = ask
        self.usage = ask.usage
        self.arrived_at = desk.timer.time()
        self.admitted_at: float | None = None
        self.waited_until: float | None = None
        self.permit: Permit | None = None
        self._may_end = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self.desk.admission.admit(self.request) as self.permit:
                self.admitted_at = self.waited_until = self.desk.timer.time()
                self.desk.admitted.append(self)
                await self._may_end.wait()
        finally:
            self.waited_until = self.waited_until or self.desk.timer.time()

    def is_inside(self) -> bool:
        return self.admitted_at is not None and not self.task.done()

    async def end(self) -> None:
        self._may_end.set()
        await settled()

    async def cancel(self) -> None:
        self.task.cancel()
        await settled()


class Desk(AdmissionListener):
    """An admission with its timer, its callers, and what it said about waiting."""

    def __init__(self, **limits: Any) -> None:
        by_model, budget = limits.pop("by_model", {}), limits.pop("budget", None)
        self.timer: ManualTimer = limits.pop("timer", None) or ManualTimer()
        self.change = asyncio.Event()
        self.waits: dict[str, float] = defaultdict(float)
        concurrency, least = int(limits.pop("max_concurrency", None) or 1000), limits.pop("min_concurrency", None)
        account = MinuteLimits(**limits)
        self.circuits: list[tuple[str, str | None]] = []
        self.faults: list[DocsluiceError] = []
        """With which each circuit has opened."""
        self.admission = Admission(
            limits=Limits(
                max_concurrency=concurrency,
                min_concurrency=least,
                by_model={model_ref(name): own for name, own in (by_model or {}).items()},
                **asdict(account),
            ),
            timer=self.timer,
            listener=self,
            budget=budget,
            clock=self.timer.time,
        )
        self.calls: list[Call] = []
        self.admitted: list[Call] = []

    def circuit_opened(self, model: ModelRef, reason: str, fault: DocsluiceError) -> None:
        self.circuits.append((str(model), reason))
        self.faults.append(fault)

    def circuit_closed(self, model: ModelRef) -> None:
        self.circuits.append((str(model), None))

    def changed(self) -> None:
        self.change.set()

    def waited(self, constraint: str, seconds: float) -> None:
        assert seconds >= 0
        assert constraint in self.admission.constraints, "the metrics know of no such wait"
        if seconds:
            self.waits[constraint] += seconds

    async def call(self, input_tokens: int = 0, output_tokens: int = 0, *, model: str = "m", **more: Any) -> Call:
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        others = tuple(map(model_ref, more.pop("alternatives", ())))
        more.setdefault("output_bound", output_tokens)
        call = Call(self, CallRequest(model=model_ref(model), usage=usage, alternatives=others, **more))
        self.calls.append(call)
        await settled()
        return call

    def refuse(self, pause_seconds: float) -> None:
        """The provider asks for a pause, as if it were in a refusal to a call of long ago."""
        self.admission._queue(model_ref("m")).cooldown.close(pause_seconds, now=self.timer.time())
        self.admission._admit_ready()

    def available(self, constraint: str) -> float:
        return self.admission.limits_and_available()[constraint][1]

    async def close(self) -> None:
        for call in self.calls:
            call.task.cancel()
        await asyncio.gather(*(call.task for call in self.calls), return_exceptions=True)


async def tell_limits(desk: Desk, limits: dict[str, float], *, model: str) -> None:
    """The provider has named a model's limits with an answer."""
    call = await desk.call(model=model)
    await desk.timer.run(60)
    assert call.permit is not None
    call.permit.reported_limits(limits)
    call.permit.answered(Usage())
    await call.end()


async def ends_with(call: Call, fault: DocsluiceError) -> None:
    assert call.permit is not None
    call.permit.failed(fault)
    await call.end()


async def fail(desk: Desk, fault: DocsluiceError, times: int, **ask: Any) -> None:
    for _ in range(times):
        call = await desk.call(**ask)
        assert call.permit is not None
        call.permit.failed(fault)
        await call.end()
