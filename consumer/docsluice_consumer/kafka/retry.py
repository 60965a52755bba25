"""Waiting for a broker that is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import ClassVar, Self, TypeVar

import structlog
from aiokafka.errors import KafkaError

from docsluice.kafka import broker_errors
from docsluice_consumer.kafka import error_mapping

log = structlog.get_logger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0


async def with_retries(action: Callable[[], Awaitable[T]], *, doing: str) -> T:
    """Run `action`, and retry while the broker is away, for as long as it takes. Log that, and when it is back.

    Raises:
        DocsluiceError: what does not pass by waiting.
    """
    pause_seconds = _FIRST_PAUSE_SECONDS
    with _Wait(doing) as wait:
        while True:
            try:
                return await action()
            except KafkaError as error:
                fault = error_mapping.translate(error, doing=doing)
                if fault is not None:
                    raise fault from error
                wait.begin(error)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)


class _Wait:
    """One wait. Hundreds of records wait for the same thing together, and two lines in the log are enough."""

    _waiting: ClassVar[Counter[str]] = Counter()
    _said: ClassVar[set[str]] = set()
    """Waits that were logged and are not over. Waiting records may have been cancelled, and come again."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._begun = False

    def begin(self, error: KafkaError) -> None:
        """Log the wait, if it is the first for this work."""
        if self._begun:
            return
        self._begun = True
        self._waiting[self._doing] += 1
        if self._doing not in self._said:
            self._said.add(self._doing)
            log.warning("broker.waiting", doing=self._doing, error=broker_errors.in_words(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Log that the broker is back, when the last wait for this work is over."""
        if self._begun:
            self._waiting[self._doing] -= 1
        if self._waiting[self._doing] == 0 and kind is None and self._doing in self._said:
            self._said.discard(self._doing)
            log.warning("broker.back", doing=self._doing)
