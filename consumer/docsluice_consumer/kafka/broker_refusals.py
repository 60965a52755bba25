"""When to give up on a broker that refuses us. A broker that is only away is waited for without end."""

from __future__ import annotations

import time
from collections.abc import Callable

from docsluice.kafka.client_log import ClientLog, cause_in_words, is_final
from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.kafka.wrong_protocol import protocol_to_set

REFUSED_SECONDS = 120.0
"""How long a running service accepts refusals. A password or a certificate never changes everywhere at once."""

REQUEST_TIMEOUT_MS = 30_000
_LOOK_SECONDS = 3.0
_SURE_AFTER = 2
"""A server that starts or stops closes connections too, and may then answer the probe of its protocol."""


class BrokerRefusals:
    """The refusals that one client has met while connecting."""

    def __init__(
        self, *, security_protocol: str, seconds: float, doing: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._security_protocol = security_protocol
        self._seconds = seconds
        self._doing = doing
        self._clock = clock
        self._since: float | None = None
        self._wrong_protocols = 0

    async def causes(self, heard: ClientLog) -> str:
        """Say why each server could not be reached, after a failed attempt.

        Raises:
            BrokerFault: waiting will not help.
        """
        said = "; ".join(f"{address}: {self._in_words(cause)}" for address, cause in sorted(heard.servers.items()))
        if any(is_final(cause) for cause in heard.servers.values()):
            self._since = self._clock() if self._since is None else self._since
            if self._clock() - self._since >= self._seconds:
                raise BrokerFault(f"cannot {self._doing}: {said}")
        else:
            self._since = None
        await self._judge_protocol(heard)
        return said

    async def _judge_protocol(self, heard: ClientLog) -> None:
        for address in heard.closed_by():
            wrong = await protocol_to_set(address, security_protocol=self._security_protocol, seconds=_LOOK_SECONDS)
            if wrong is not None:
                self._wrong_protocols += 1
                if self._wrong_protocols >= _SURE_AFTER:
                    raise BrokerFault(f"cannot {self._doing}: {address}: {wrong}")
                return
        self._wrong_protocols = 0

    def _in_words(self, error: BaseException) -> str:
        return cause_in_words(error, security_protocol=self._security_protocol, seconds=REQUEST_TIMEOUT_MS / 1000)
