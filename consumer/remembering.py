"""Nothing is asked twice: what was paid for is remembered, and what is being asked now is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import structlog

from consumer.contracts import DeadLetterReason, OutputValue
from consumer.errors import RecordRejected
from consumer.store.steps import NotBelieved, PaidStep, StepStore
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

Outcome: TypeAlias = PaidStep | RecordRejected | None
"""How a question that was under way has ended; None when whoever asked has let go of it."""
Keep: TypeAlias = Callable[[PaidStep], Awaitable[PaidStep]]
"""Keeps an answer, and gives it back once no crash of this process can lose it."""
Fits: TypeAlias = Callable[[Mapping[str, OutputValue]], bool]
"""Whether outputs can be the answer to a question. A store may hold anything under its fingerprint."""


class Memory:
    """Answers by the fingerprint of what was asked: of earlier runs from the store, of this moment from each other."""

    def __init__(self, *, store: StepStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._under_way: dict[str, asyncio.Future[Outcome]] = {}
        self._has_said_refused = False

    async def knows(self, fingerprint: str, *, fits: Fits) -> bool:
        """Whether an answer is paid for, or is about to be by somebody else."""
        return fingerprint in self._under_way or isinstance(await self._kept(fingerprint, fits), PaidStep)

    async def answer(
        self, fingerprint: str, ask: Callable[[Keep], Awaitable[PaidStep]], *, fits: Fits
    ) -> tuple[PaidStep, bool]:
        """The answer, and whether it was paid for just now by this very call. `ask` gives what it was handed to keep.

        What the store holds and does not fit counts as not there.

        Raises:
            RecordRejected: the same question was rejected, to whoever asked it. Used-up attempts may be bad luck, and
                are believed the second time: were each to use up its own, they would take hours one after the other.
            Exception: what `ask` raises.
        """
        key, was_used_up = fingerprint, False
        while (under_way := self._under_way.get(key)) is not None:
            match await asyncio.shield(under_way):
                case PaidStep() as paid:
                    self._count_hit(paid)
                    return paid, False
                case RecordRejected(reason=DeadLetterReason.ATTEMPTS_EXHAUSTED) if not was_used_up:
                    was_used_up = True
                case RecordRejected() as rejection:
                    raise _again(rejection) from rejection
        mine = self._under_way[key] = asyncio.get_running_loop().create_future()
        outcome: Outcome = None

        async def keep(paid: PaidStep) -> PaidStep:
            nonlocal outcome
            outcome = paid  # where keeping it is given up, it is paid for all the same
            await self._store.put(key, paid)
            return paid

        try:
            known = await self._kept(key, fits)
            if isinstance(known, PaidStep):
                outcome = known
                self._count_hit(known)
                return known, False
            if isinstance(known, NotBelieved):
                self._note_refused(known)
            self._metrics.store_lookups_total.labels(result="miss").inc()
            return await ask(keep), True
        except RecordRejected as rejection:
            outcome = rejection
            raise
        finally:
            del self._under_way[key]
            mine.set_result(outcome)

    async def _kept(self, fingerprint: str, fits: Fits) -> PaidStep | NotBelieved | None:
        """What the store holds, or why that is not believed."""
        try:
            kept = await self._store.get(fingerprint)
        except NotBelieved as refused:
            return refused
        if kept is None or fits(kept.outputs):
            return kept
        return NotBelieved("the answer to another question")

    def _note_refused(self, refused: NotBelieved) -> None:
        self._metrics.store_entries_refused_total.inc()
        if self._has_said_refused:
            return
        self._has_said_refused = True
        log.error(
            "store.entry_refused",
            reason=f"it holds {refused}",
            remedy="somebody has changed the store that DOCSLUICE_STORE_URL names, or its disk is failing; the step is"
            " asked again, and so are others like it, which docsluice_store_entries_refused_total counts",
        )

    def _count_hit(self, paid: PaidStep) -> None:
        self._metrics.store_lookups_total.labels(result="hit").inc()
        self._metrics.saved_usd_total.inc(float(paid.cost_usd))


def _again(rejection: RecordRejected) -> RecordRejected:
    """The same one once more: an exception that is raised by many tasks would gather the traces of all of them."""
    return RecordRejected(
        rejection.reason,
        str(rejection),
        stage=rejection.stage,
        step=rejection.step,
        model=rejection.model,
        answer=rejection.answer,
        cause=rejection.cause,
    )
