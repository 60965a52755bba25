"""How to reach the broker: settings as client arguments, and one clear line if it cannot be reached."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, NodeNotReadyError

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_errors import is_passing
from docsluice.kafka.client_log import ClientLog, cause_in_words, is_final
from docsluice_producer.errors import BrokerAway, BrokerRefused

REQUEST_SECONDS = 10.0
"""One request. A broker that accepts connections and says nothing can take us so far past the end of our patience."""
_RETRY_SECONDS = 0.5
_LOGGED = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, TimeoutError)

_ELSEWHERE = "; KAFKA_BOOTSTRAP_SERVERS or --bootstrap-servers names another"

Say = Callable[[str], None]
T = TypeVar("T")


async def with_retries(
    attempt: Callable[[], Awaitable[T]], *, broker: Broker, client_log: ClientLog, wait_seconds: float, say: Say
) -> T:
    """Retry `attempt` until the broker answers, and report the wait once.

    Raises:
        BrokerAway: it did not answer in `wait_seconds`.
        BrokerRefused: it refused. A retry would only lock the account.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    told: str | None = None
    while True:
        client_log.forget()
        try:
            return await attempt()
        except (KafkaError, OSError) as error:
            cause = client_log.last if isinstance(error, _LOGGED) and client_log.last else error
            problem, why, hint = _absence(broker, cause, client_log)
            if is_final(cause):
                raise BrokerRefused(f"{broker.bootstrap_servers} refuses us: {why}") from error
            if isinstance(error, KafkaError) and not is_passing(error):
                raise BrokerRefused(f"{broker.bootstrap_servers}: {why}") from error
        if loop.time() >= deadline:
            if told is None:
                raise BrokerAway(f"{problem}: {why}{hint}")
            raise BrokerAway(f"{problem} for {wait_seconds:g} s" + ("" if why == told else f": {why}"))
        if told is None:
            say(f"{problem}: {why}{hint} (trying for {wait_seconds:g} s)")
            told = why
        await asyncio.sleep(min(_RETRY_SECONDS, max(0.0, deadline - loop.time())))


def _absence(broker: Broker, cause: BaseException, client_log: ClientLog) -> tuple[str, str, str]:
    """What is missing, why, and where to look."""
    why = cause_in_words(cause, security_protocol=broker.security_protocol)
    if client_log.brokers:
        return f"{broker.bootstrap_servers} answers, but the address that it advertises to clients does not", why, ""
    return f"no broker at {broker.bootstrap_servers}", why, _ELSEWHERE
