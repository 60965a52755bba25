"""Steps kept in Redis, for processes on several machines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from consumer.store.batching import Answer, Asked, Batches, Served
from consumer.store.redis_words import away, is_of_another_kind
from consumer.store.steps import PaidStep, StoreAway

_PATIENCE_SECONDS = 1.0
_PREFIX = "docsluice:step:"


class RedisSteps:
    """A `StepStore` in the Redis at `url`, which deletes what is too old; its `maxmemory` says what is too much.

    Needs the package `redis`. The URL may hold a password; nothing that is raised here tells it.
    """

    def __init__(self, *, url: str, max_age_seconds: float) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra, which only those need who keep steps in it
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415

        self._redis = Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=_PATIENCE_SECONDS,
            socket_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),  # who asks decides whether to ask again
        )
        self._seconds = max(1, math.ceil(max_age_seconds))
        self._batches = Batches(serve=self._serve)

    async def get(self, fingerprint: str) -> PaidStep | None:
        """See `StepStore`."""
        return await self._batches.get(fingerprint)

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """See `StepStore`."""
        await self._batches.put(fingerprint, step)

    async def close(self) -> None:
        """Send what has been put, and close the connection."""
        await self._batches.close()
        await self._redis.aclose()

    def _serve(self, batch: Sequence[Asked]) -> asyncio.Future[Served]:
        return asyncio.create_task(self._served(batch), name="steps.batch")

    async def _served(self, batch: Sequence[Asked]) -> Served:
        """In one exchange, in the order in which they have asked."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._redis.pipeline(transaction=False) as exchange:
                for asked in batch:
                    if asked.written is None:
                        exchange.get(_PREFIX + asked.fingerprint)
                    else:
                        exchange.set(_PREFIX + asked.fingerprint, asked.written, ex=self._seconds)
                said = await exchange.execute(raise_on_error=False)
            return Served(answers=[_answer(asked, one) for asked, one in zip(batch, said, strict=True)])
        except Exception as error:  # noqa: BLE001 - whatever comes of it is Redis' fault, or that of the way to it
            return Served(answers=[away(error)] * len(batch))


def _answer(asked: Asked, said: Any) -> Answer | StoreAway:
    if isinstance(said, Exception):
        is_unread = asked.written is None and is_of_another_kind(said)
        return None if is_unread else away(said)  # somebody else has put it there, and waiting would not mend it
    return said if asked.written is None else None
