"""A store that may be away. Calls wait for it, or bypass it if it is optional."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from typing import TypeVar

import structlog

from docsluice_consumer.store.step_store import NotBelieved, PaidStep, StepStore, StoreAway, StoreUnusable

log = structlog.get_logger(__name__)

T = TypeVar("T")

_RETRY_SECONDS = 1.0
_PASS_BY_SECONDS = 5.0
"""How long an optional store that was away is not retried. Each try may take a second."""
_TRIED = "0" * 64
"""The fingerprint of the trial entry. No question has it."""
_REMEDY = "see to the store that DOCSLUICE_STORE_URL names"


class _Doing(Enum):
    """A store that is full or locked can still be read. One that cannot be read is away for writing, too."""

    READ = "read"
    WRITE = "write"


class RetryingStore:
    """A `StepStore` that is never away: its calls wait for the store below.

    `is_optional`: go on without it instead. Answers in it are then paid for again, and new ones are not kept.
    """

    def __init__(
        self,
        *,
        store: StepStore,
        is_optional: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._is_optional = is_optional
        self._clock = clock
        self._sleep = sleep
        self._away: dict[_Doing, str] = {}
        self._waiting: Counter[_Doing] = Counter()
        self._passed_by_until: dict[_Doing, float] = {}
        self._is_leaving = False

    async def try_it(self) -> None:
        """Read and write once, at the start. A store that is only away is no failure.

        Raises:
            StoreUnusable: waiting would not help.
        """
        try:
            with contextlib.suppress(NotBelieved):
                await self._tried(_Doing.READ, lambda: self._store.get(_TRIED))
            await self._tried(_Doing.WRITE, lambda: self._store.put(_TRIED, PaidStep(outputs={}, models={})))
        except StoreUnusable:
            if not self._is_optional:
                raise
        except StoreAway:
            return

    @property
    def why_away(self) -> str | None:
        """Why the store is away, in a few words, while calls wait for it or bypass it."""
        return next((why for doing, why in self._away.items() if self._is_optional or self._waiting[doing]), None)

    async def get(self, fingerprint: str) -> PaidStep | None:
        """See `StepStore.get`."""
        return await self._retried(_Doing.READ, lambda: self._store.get(fingerprint))

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """See `StepStore.put`."""
        await self._retried(_Doing.WRITE, lambda: self._store.put(fingerprint, step))

    async def until_writable(self) -> None:
        """Return when the store can be written. Answers paid for before that could not be kept."""
        while self._waiting[_Doing.WRITE]:
            await self._sleep(_RETRY_SECONDS)

    def leave(self) -> None:
        """Stop waiting to put. A document that was cut off while waiting would lose its answers too."""
        self._is_leaving = True

    async def close(self) -> None:
        """See `StepStore.close`."""
        await self._store.close()

    async def _retried(self, doing: _Doing, attempt: Callable[[], Awaitable[T]]) -> T | None:
        if self._is_optional:
            return await self._if_there(doing, attempt)
        try:
            return await self._tried(doing, attempt)
        except StoreAway:
            with self._counted(doing):
                return await self._waited_for(doing, attempt)

    async def _if_there(self, doing: _Doing, attempt: Callable[[], Awaitable[T]]) -> T | None:
        if self._is_passed_by(doing):
            return None
        for one in self._away.keys() & {_Doing.READ, doing}:
            self._pass_by(one)  # this call retries, the others do not
        try:
            return await self._tried(doing, attempt)
        except StoreAway:
            self._pass_by(doing)
            return None

    async def _waited_for(self, doing: _Doing, attempt: Callable[[], Awaitable[T]]) -> T | None:
        while not (self._is_leaving and doing is _Doing.WRITE):
            await self._sleep(_RETRY_SECONDS)
            with contextlib.suppress(StoreAway):
                return await self._tried(doing, attempt)
        return None

    async def _tried(self, doing: _Doing, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            done = await attempt()
        except StoreAway as away:
            self._note_away(doing, str(away))
            raise
        except NotBelieved:
            self._note_back(doing)  # it has answered
            raise
        self._note_back(doing)
        return done

    @contextlib.contextmanager
    def _counted(self, doing: _Doing) -> Iterator[None]:
        self._waiting[doing] += 1
        try:
            yield
        finally:
            self._waiting[doing] -= 1

    def _is_passed_by(self, doing: _Doing) -> bool:
        return any(self._clock() < self._passed_by_until.get(one, 0.0) for one in (_Doing.READ, doing))

    def _pass_by(self, doing: _Doing) -> None:
        self._passed_by_until[doing] = self._clock() + _PASS_BY_SECONDS

    def _note_away(self, doing: _Doing, reason: str) -> None:
        if not self._away:
            meanwhile = "go on without it, and pay again" if self._is_optional else "documents wait for it"
            log.warning("store.away", reason=reason, meanwhile=meanwhile, remedy=_REMEDY)
        self._away[doing] = reason

    def _note_back(self, doing: _Doing) -> None:
        """Note that the store is back. A store that can be written can be read, but not the other way round."""
        was_away = bool(self._away)
        for one in {_Doing.READ, doing}:
            self._away.pop(one, None)
            self._passed_by_until.pop(one, None)
        if was_away and not self._away:
            log.warning("store.back")
