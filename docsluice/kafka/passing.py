"""How long a broker may take for one request, and which errors of a producer pass."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError, KafkaTimeoutError

from docsluice.errors import BrokerRefused
from docsluice.kafka.client_log import cause_in_words

REQUEST_SECONDS = 10.0
"""One request. A broker that accepts connections and says nothing can take us so far past our time-out."""

Say = Callable[[str], None]


def unretrieved(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Let asyncio report errors that nobody has retrieved, except aiokafka's.

    A failed transaction leaves several futures out of our reach. They all hold the error that we already have.
    """
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)


def raise_unless_passing(error: BaseException, *, mended: tuple[type[KafkaError], ...]) -> None:
    """Raise an error of a producer that does not pass, as the error or its type says. A new producer helps the mended.

    Raises:
        BrokerRefused: it does not pass.
    """
    if isinstance(error, (*mended, KafkaTimeoutError, OSError)) or getattr(error, "retriable", False):
        return
    raise BrokerRefused(f"the broker refuses: {cause_in_words(error)}") from error
