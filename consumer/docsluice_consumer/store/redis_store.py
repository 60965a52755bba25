"""Steps kept in Redis, for processes on several machines."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from typing import Any

from docsluice_consumer.store.batching import Asked, Batches, Entry, Served
from docsluice_consumer.store.redis_connection import Allowance, redis_at
from docsluice_consumer.store.redis_errors import away, is_of_another_kind, is_too_much
from docsluice_consumer.store.step_store import PaidStep, StoreAway
from docsluice_consumer.store.stored_values import MOST_STEP_BYTES

_ANSWER_SECONDS = 5.0
"""The deadline of an exchange, connecting included. Only what the client's own deadlines miss takes this long."""
_MOST_ANSWER_BYTES = 4 * MOST_STEP_BYTES
_PREFIX = "docsluice:step:"
_NO_REDIS = "it answers as no Redis does"


class RedisStore:
    """A `StepStore` in the Redis at `url`, which deletes what is too old. Its `maxmemory` says what is too much.

    Needs the package `redis`. The URL may hold a password, and no error raised here quotes it.
    """

    def __init__(self, *, url: str, max_age_seconds: float) -> None:
        self._allowance = Allowance(_MOST_ANSWER_BYTES)
        self._redis = redis_at(url, allowance=self._allowance)
        self._seconds = max(1, math.ceil(max_age_seconds))
        self._batches = Batches(serve=self._serve, answer_seconds=_ANSWER_SECONDS)

    async def get(self, fingerprint: str) -> PaidStep | None:
        """See `StepStore`."""
        return await self._batches.get(fingerprint)

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """See `StepStore`."""
        await self._batches.put(fingerprint, step)

    async def close(self) -> None:
        """Send what has been put, and close the connection."""
        await self._batches.close()
        with contextlib.suppress(StoreAway):
            await self._batches.within_deadline(lambda: asyncio.ensure_future(self._redis.aclose()))

    def _serve(self, batch: Sequence[Asked]) -> asyncio.Future[Served]:
        return asyncio.create_task(self._served(batch), name="steps.batch")

    async def _served(self, batch: Sequence[Asked]) -> Served:
        """Serve a batch in one exchange, or in several if the answers are too large for one."""
        try:
            said = await self._exchanged(batch)
        except Exception as error:  # noqa: BLE001 - whatever comes of it is Redis' fault, or that of the way to it
            if is_too_much(error) and len(batch) > 1:
                half = len(batch) // 2
                first, second = await self._served(batch[:half]), await self._served(batch[half:])
                return Served(answers=[*first.answers, *second.answers])
            return Served(answers=[away(error)] * len(batch))
        return Served(answers=[_answer(asked, one) for asked, one in zip(batch, said, strict=True)])

    async def _exchanged(self, batch: Sequence[Asked]) -> Sequence[Any]:
        """Redis' answers, in the order of the requests."""
        async with self._allowance.exchange(), self._redis.pipeline(transaction=False) as exchange:
            for asked in batch:
                if asked.written is None:
                    exchange.get(_PREFIX + asked.fingerprint)
                else:
                    exchange.set(_PREFIX + asked.fingerprint, asked.written, ex=self._seconds)
            said: Sequence[Any] = await exchange.execute(raise_on_error=False)
        return said


def _answer(asked: Asked, said: Any) -> Entry | StoreAway:
    if isinstance(said, Exception):
        is_unread = asked.written is None and is_of_another_kind(said)
        return None if is_unread else away(said)  # somebody else has put it there, and it does not pass by waiting
    if asked.written is not None:
        return None if said is True else StoreAway(_NO_REDIS)
    return said if said is None or isinstance(said, bytes) else StoreAway(_NO_REDIS)
