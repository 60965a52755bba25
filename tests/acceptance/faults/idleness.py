"""Whether replicas stand idle while others are restarted, and how long their group takes to settle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from tests.acceptance.faults.replicas import Replica

_LOOK_SECONDS = 0.1


class Idleness:
    """The longest that a replica which was meant to work answered for no call, between its first and its last one."""

    def __init__(self) -> None:
        self.longest_seconds = 0.0
        self._seen: dict[str, tuple[int, float]] = {}

    def note(self, name: str, calls: int | None, now: float) -> None:
        """A replica has made so many calls by `now`. None when it is not at work."""
        last = self._seen.get(name)
        if calls is None or (last is not None and calls < last[0]):
            self._seen.pop(name, None)
        elif last is None or calls > last[0]:
            if last is not None and last[0]:
                self.longest_seconds = max(self.longest_seconds, now - last[1])
            self._seen[name] = (calls, now)

    async def look(self, replicas: Iterable[Replica]) -> None:
        """Watch until cancelled."""
        while True:
            for replica in replicas:
                calls = await asyncio.to_thread(replica.calls) if replica.wanted else None
                self.note(replica.name, calls if replica.wanted else None, time.monotonic())
            await asyncio.sleep(_LOOK_SECONDS)


@contextlib.asynccontextmanager
async def idleness_of(replicas: Iterable[Replica]) -> AsyncIterator[Idleness]:
    """Watch the replicas for the length of the block."""
    idleness = Idleness()
    looking = asyncio.create_task(idleness.look(replicas), name="idleness")
    try:
        yield idleness
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def rebalance_seconds(logs: Iterable[Path]) -> Iterator[float]:
    """How long each rebalance of each replica took, from its logs: from partitions revoked to partitions assigned."""
    for path in logs:
        revoked_at = None
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line)
                at = datetime.fromisoformat(entry["timestamp"])
                if entry["event"] == "partitions.revoked":
                    revoked_at = at
                elif entry["event"] == "partitions.assigned" and revoked_at is not None:
                    yield (at - revoked_at).total_seconds()
                    revoked_at = None
                elif entry["event"] == "service.started":
                    revoked_at = None
