"""Asks no question twice. It looks into the store, and waits for a call that already asks the same (single flight)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias

import structlog

from docsluice.messages import DeadLetterReason, OutputValue
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.store.step_store import NotBelieved, PaidStep, StepStore
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

Outcome: TypeAlias = PaidStep | RecordRejected | None
"""How a question in flight has ended. None when its caller has given it up."""
Fits: TypeAlias = Callable[[Mapping[str, OutputValue]], bool]
"""Tells whether outputs can answer a question. A store may hold anything under a fingerprint."""


class Entry:
    """One question's entry: the answer if it is `known`, else the place to keep it for all that wait for it."""

    def __init__(self, *, known: PaidStep | None, keep: Callable[[PaidStep], Awaitable[None]]) -> None:
        self.known = known
        self.outcome: Outcome = known
        self._put = keep

    async def keep(self, paid: PaidStep) -> PaidStep:
        """Keep the answer, and return it once no crash of this process can lose it."""
        self.outcome = paid  # if keeping it is given up, it is paid for all the same
        await self._put(paid)
        return paid


class AnswerCache:
    """Answers by fingerprint: those of earlier runs from the store, those of this moment from each other."""

    def __init__(self, *, store: StepStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._under_way: dict[str, asyncio.Future[Outcome]] = {}
        self._has_said_refused = False

    async def knows(self, fingerprint: str, *, fits: Fits) -> bool:
        """Whether an answer is paid for, or another document is paying for it now."""
        return fingerprint in self._under_way or isinstance(await self._kept(fingerprint, fits), PaidStep)

    @contextlib.asynccontextmanager
    async def entry(self, fingerprint: str, *, fits: Fits) -> AsyncIterator[Entry]:
        """The entry for a question.

        If the answer is unknown, the caller inside asks, and all others wait until it leaves.

        A stored entry that does not fit counts as missing.

        Raises:
            RecordRejected: another document got a rejection for the same question. Used-up attempts may be bad luck, so
                they count only the second time. If each document used up its own, they would take hours one after the
                other.
        """
        paid = await self._asked_by_another(fingerprint)
        if paid is not None:
            self._metrics.cache_hit(saved_usd=float(paid.cost_usd))
            yield self._entry(fingerprint, paid)
            return
        mine = self._under_way[fingerprint] = asyncio.get_running_loop().create_future()
        outcome: Outcome = None
        try:
            entry = self._entry(fingerprint, await self._from_store(fingerprint, fits))
            try:
                yield entry
            finally:
                outcome = entry.outcome
        except RecordRejected as rejection:
            outcome = rejection
            raise
        finally:
            del self._under_way[fingerprint]
            mine.set_result(outcome)

    def _entry(self, fingerprint: str, known: PaidStep | None) -> Entry:
        return Entry(known=known, keep=lambda paid: self._store.put(fingerprint, paid))

    async def _asked_by_another(self, fingerprint: str) -> PaidStep | None:
        """The answer of a call that asks the same just now. None if there is no such call, or it gave no answer."""
        was_used_up = False
        while (under_way := self._under_way.get(fingerprint)) is not None:
            match await asyncio.shield(under_way):
                case PaidStep() as paid:
                    return paid
                case RecordRejected(reason=DeadLetterReason.ATTEMPTS_EXHAUSTED) if not was_used_up:
                    was_used_up = True
                case RecordRejected() as rejection:
                    raise _again(rejection) from rejection
        return None

    async def _from_store(self, fingerprint: str, fits: Fits) -> PaidStep | None:
        """The answer that an earlier run has paid for."""
        known = await self._kept(fingerprint, fits)
        if isinstance(known, PaidStep):
            self._metrics.cache_hit(saved_usd=float(known.cost_usd))
            return known
        if isinstance(known, NotBelieved):
            self._note_refused(known)
        self._metrics.cache_missed()
        return None

    async def _kept(self, fingerprint: str, fits: Fits) -> PaidStep | NotBelieved | None:
        """The store's entry, or why it cannot be used."""
        try:
            kept = await self._store.get(fingerprint)
        except NotBelieved as refused:
            return refused
        if kept is None or fits(kept.outputs):
            return kept
        return NotBelieved("the answer to another question")

    def _note_refused(self, refused: NotBelieved) -> None:
        self._metrics.cache_entry_refused()
        if self._has_said_refused:
            return
        self._has_said_refused = True
        log.error(
            "store.entry_refused",
            reason=f"it holds {refused}",
            remedy="somebody has changed the store that DOCSLUICE_STORE_URL names, or its disk is failing; the step is"
            " asked again, and so are others like it, which docsluice_store_entries_refused_total counts",
        )


def _again(rejection: RecordRejected) -> RecordRejected:
    """A copy of the rejection. One exception raised by many tasks would gather the traces of all of them."""
    return RecordRejected(
        rejection.reason,
        str(rejection),
        stage=rejection.stage,
        step=rejection.step,
        model=rejection.model,
        answer=rejection.answer,
        cause=rejection.cause,
    )
