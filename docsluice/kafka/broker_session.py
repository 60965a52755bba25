"""A session with the broker for reading topics, with retries."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, NodeNotReadyError

from docsluice.errors import BrokerAway, BrokerRefused
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_errors import is_passing
from docsluice.kafka.client_log import ClientLog, cause_in_words, is_final
from docsluice.kafka.passing import REQUEST_SECONDS, Say
from docsluice.kafka.topics import partitions_of_topics

T = TypeVar("T")
_RETRY_SECONDS = 0.5
_LOGGED = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, TimeoutError)
_LEAST_TIMEOUT_SECONDS = 5.0
"""An answer gets this long, however short the wait for a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSession:
    """A broker, how long to wait for it, and where the wait is reported."""

    broker: Broker
    wait_seconds: float
    client_log: ClientLog
    say: Say
    elsewhere: str = "KAFKA_BOOTSTRAP_SERVERS or --bootstrap-servers"
    """What names another broker."""

    @property
    def timeout_seconds(self) -> float:
        """How long the broker may be silent in the middle of the work."""
        return max(self.wait_seconds, _LEAST_TIMEOUT_SECONDS)

    async def with_retries(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Retry `attempt` until the broker answers, and report the wait once. It is given up without an answer, too.

        Raises:
            BrokerAway: it did not answer in `wait_seconds`.
            BrokerRefused: it refused. A retry would only lock the account.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.wait_seconds
        told: str | None = None
        while True:
            self.client_log.forget()
            try:
                async with asyncio.timeout(2 * REQUEST_SECONDS):
                    return await attempt()
            except (KafkaError, OSError) as error:
                problem, why, hint = self._absence(error)
            if loop.time() >= deadline:
                if told is None:
                    raise BrokerAway(f"{problem}: {why}{hint}")
                raise BrokerAway(f"{problem} for {self.wait_seconds:g} s" + ("" if why == told else f": {why}"))
            if told is None:
                self.say(f"{problem}: {why}{hint} (trying for {self.wait_seconds:g} s)")
                told = why
            await asyncio.sleep(min(_RETRY_SECONDS, max(0.0, deadline - loop.time())))

    def _absence(self, error: KafkaError | OSError) -> tuple[str, str, str]:
        """What is missing, why, and where to look.

        Raises:
            BrokerRefused: it is not away. It refused.
        """
        servers, last = self.broker.bootstrap_servers, self.client_log.last
        cause = last if isinstance(error, _LOGGED) and last else error
        why = cause_in_words(cause, security_protocol=self.broker.security_protocol)
        if is_final(cause):
            raise BrokerRefused(f"{servers} refuses us: {why}") from error
        if isinstance(error, KafkaError) and not is_passing(error):
            raise BrokerRefused(f"{servers}: {why}") from error
        if self.client_log.brokers:
            return f"{servers} answers, but the address that it advertises to clients does not", why, ""
        return f"no broker at {servers}", why, f"; {self.elsewhere} names another"

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


@contextmanager
def broker_session(broker: Broker, *, wait_seconds: float, say: Say, **told: str) -> Iterator[BrokerSession]:
    """A session for the length of a block. Meanwhile the client's log is kept off the terminal.

    `told` are further fields of the session.
    """
    with ClientLog().listening_to_warnings() as client_log:
        yield BrokerSession(broker=broker, wait_seconds=wait_seconds, client_log=client_log, say=say, **told)
