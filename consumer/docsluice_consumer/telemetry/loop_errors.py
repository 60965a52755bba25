"""The event loop's own complaints, throttled."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Any

import structlog

from docsluice_consumer.telemetry.logs import Throttle

log = structlog.get_logger(__name__)

_AIOKAFKA = "aiokafka.errors"
_OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class LoopErrors:
    """An exception handler for a loop. Errors of aiokafka that were told elsewhere are not told again.

    A connection that cannot be accepted is logged once a minute. asyncio would log each attempt, dozens of times a
    second and with a stack trace.
    """

    def __init__(self) -> None:
        self._complaints = Throttle(seconds=60.0)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """See `asyncio.loop.set_exception_handler`."""
        error = context.get("exception")
        if type(error).__module__ == _AIOKAFKA and "never retrieved" in context["message"]:
            # A transaction that fails leaves futures that are out of our reach. They tell the error that we were told.
            return
        if not isinstance(error, OSError) or error.errno not in _OUT_OF or "socket" not in context:
            loop.default_exception_handler(context)
        elif (silenced := self._complaints.silenced("accept")) is not None:
            log.error(
                "http.cannot_accept",
                error=os.strerror(error.errno),
                silenced=silenced,
                remedy="the HTTP port takes no connection: raise the limit on open files (ulimit -n), or find out who"
                " opens so many; calls and documents go on",
            )
