"""How large a record each topic takes: read from the broker, and corrected by what it refuses.

A record that is known not to fit is refused here, before it fails a batch or a transaction for others.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from docsluice.messages import DeadLetterReason, Stage
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import Compression, OutgoingRecord

LookUp = Callable[[str], Awaitable[int | None]]
"""Returns a topic's `max.message.bytes`. None if the broker does not tell."""

_WORTH_ASKING_BYTES = 256 * 1024
"""Every older topic takes this much. A topic that does not refuses it."""
_FRESH_SECONDS = 30.0
"""A limit this old is read again before anything is refused for it: somebody may have raised it."""
_REFUSAL_SECONDS = 600.0
_NEVER = float("-inf")
_CODECS: dict[Compression, int] = {"gzip": 1, "zstd": 4}


@dataclass(slots=True, kw_only=True)
class _Known:
    """`refused_bytes` is the smallest batch that was refused though the topic's limit should have let it in."""

    limit: int | None = None
    asked_at: float = _NEVER
    """`_NEVER` also after a refusal."""
    refused_bytes: int | None = None
    refused_at: float = _NEVER

    def most_bytes(self, now: float) -> int | None:
        """The most bytes of a batch. None if nothing is known."""
        refused = self.refused_bytes if now - self.refused_at < _REFUSAL_SECONDS else None
        known = [bound for bound in (self.limit, None if refused is None else refused - 1) if bound is not None]
        return min(known, default=None)


class TopicLimits:
    """The size limits of the topics that outcomes go to."""

    def __init__(self, ask: LookUp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._topics: dict[str, _Known] = {}

    async def check(self, outgoing: OutgoingRecord) -> None:
        """Return if the outcome may fit.

        Raises:
            RecordRejected: it certainly does not.
        """
        size, known = _most_bytes_of(outgoing), self._topics.setdefault(outgoing.topic, _Known())
        if size <= _WORTH_ASKING_BYTES and known.most_bytes(self._clock()) is None:
            return
        if known.asked_at == _NEVER:
            await self._refresh(outgoing.topic, known)
        if self._has_room(known, size):
            return
        size = batch_bytes(outgoing)
        if not self._has_room(known, size):
            await self._refresh(outgoing.topic, known)
        if not self._has_room(known, size):
            raise RecordRejected(
                DeadLetterReason.TOO_LARGE,
                f"{size:,} bytes, and topic {outgoing.topic} takes {known.most_bytes(self._clock()):,}"
                " (its max.message.bytes)",
                stage=Stage.PUBLISH,
            )

    def note_refused(self, outgoing: OutgoingRecord) -> None:
        """Note that the broker refused an outcome as too large, though it was sent by itself."""
        known, now = self._topics.setdefault(outgoing.topic, _Known()), self._clock()
        size = batch_bytes(outgoing)
        is_smaller = known.refused_bytes is None or size < known.refused_bytes
        if is_smaller or now - known.refused_at >= _REFUSAL_SECONDS:
            known.refused_bytes = size
        known.refused_at, known.asked_at = now, _NEVER

    def _has_room(self, known: _Known, size: int) -> bool:
        most = known.most_bytes(self._clock())
        return most is None or size <= most

    async def _refresh(self, topic: str, known: _Known) -> None:
        """Read the limit again, unless that was done a moment ago. A changed limit makes old refusals void."""
        if self._clock() - known.asked_at < _FRESH_SECONDS:
            return
        before, known.limit = known.limit, await self._ask(topic)
        if known.limit != before and before is not None:
            known.refused_bytes = None
        known.asked_at = self._clock()


def batch_bytes(outgoing: OutgoingRecord) -> int:
    """The size that a broker compares with the limit: the batch with this record alone, compressed."""
    builder = DefaultRecordBatchBuilder(
        2,
        _CODECS[outgoing.compression],
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**31 - 1,
    )
    builder.append(0, 0, outgoing.key, outgoing.value, list(outgoing.headers))
    return len(builder.build())


def _most_bytes_of(outgoing: OutgoingRecord) -> int:
    """An upper bound on `batch_bytes`, without compressing. Incompressible data grow a little."""
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(outgoing.key, outgoing.value, list(outgoing.headers))
    return size + size // 1000 + 100
