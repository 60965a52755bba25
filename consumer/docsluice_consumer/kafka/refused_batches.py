"""Batches that a broker refuses for long, though it answers. aiokafka sends them again silently, without end."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from docsluice.kafka import broker_errors

log = structlog.get_logger(__name__)

_CLIENT = logging.getLogger("aiokafka")
_SENDER = logging.getLogger("aiokafka.producer.sender")
"""The only one that is told of a refused batch. It logs each, with its partition and its error."""
_LONG_SECONDS = 10.0
"""A new leader is elected sooner."""
_PAUSE_SECONDS = 30.0
"""Refusals further apart have another cause."""
_SAY_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class _Refused:
    """Since when a topic's batches are refused, and when that was noted and said last."""

    since: float
    noted_at: float
    said_at: float = float("-inf")


class RefusedBatches(logging.Filter):
    """Logs, once in a while, a topic whose batches are refused again and again.

    It lets through as much of the client's log as passed without it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._topics: dict[str, _Refused] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Note a refusal, if the record tells of one."""
        match record.args:
            case (TopicPartition() as partition, type() as kind) if issubclass(kind, KafkaError):
                self._note(partition.topic, kind())
        return _CLIENT.isEnabledFor(record.levelno)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen until the block ends."""
        level = _SENDER.level
        _SENDER.setLevel(logging.WARNING)
        _SENDER.addFilter(self)
        try:
            yield
        finally:
            _SENDER.removeFilter(self)
            _SENDER.setLevel(level)

    def _note(self, topic: str, error: KafkaError) -> None:
        now = self._clock()
        refused = self._topics.get(topic)
        if refused is None or now - refused.noted_at > _PAUSE_SECONDS:
            refused = self._topics[topic] = _Refused(since=now, noted_at=now)
        refused.noted_at = now
        if now - refused.since >= _LONG_SECONDS and now - refused.said_at >= _SAY_EVERY_SECONDS:
            refused.said_at = now
            log.warning(
                "publish.refused",
                topic=topic,
                error=broker_errors.in_words(error),
                seconds=round(now - refused.since),
                meanwhile="documents wait, and nothing is lost; it goes on by itself when the broker takes them",
            )
