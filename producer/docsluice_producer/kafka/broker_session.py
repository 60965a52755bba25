"""A session with the broker for reading topics, with retries."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from docsluice.kafka.broker import Broker
from docsluice.kafka.client_log import ClientLog
from docsluice_producer.errors import BrokerRefused
from docsluice_producer.kafka.connection import REQUEST_SECONDS, Say, with_retries
from docsluice_producer.kafka.topics import partitions_of_topics

T = TypeVar("T")
STOP_SECONDS = 5.0
_LEAST_PATIENCE_SECONDS = 5.0
"""An answer gets this long, however short the wait for a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSession:
    """A broker, how long to wait for it, and where the wait is reported."""

    broker: Broker
    wait_seconds: float
    client_log: ClientLog
    say: Say

    @property
    def patience_seconds(self) -> float:
        """How long the broker may be silent in the middle of the work."""
        return max(self.wait_seconds, _LEAST_PATIENCE_SECONDS)

    async def with_retries(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """See `connection.with_retries`. An attempt without an answer is given up and retried."""

        async def bounded() -> T:
            async with asyncio.timeout(2 * REQUEST_SECONDS):
                return await attempt()

        return await with_retries(
            bounded, broker=self.broker, client_log=self.client_log, wait_seconds=self.wait_seconds, say=self.say
        )

    async def topics(self, **needed: str) -> Mapping[str, list[int]]:
        """The topics with their partitions. `needed` are names by the flag that says them.

        Raises:
            BrokerAway, BrokerRefused: as `with_retries`, or a needed topic is missing.
        """
        there = await self.with_retries(lambda: partitions_of_topics(self.broker))
        for flag, topic in needed.items():
            if topic not in there:
                servers = self.broker.bootstrap_servers
                made = "the service makes it when it first runs; " if flag == "dead_letter_topic" else ""
                another = f"--{flag.replace('_', '-')} names another"
                raise BrokerRefused(f"there is no topic {topic} on {servers}: {made}{another}")
        return there
