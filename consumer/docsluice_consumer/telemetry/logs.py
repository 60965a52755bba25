"""One way to log: a dotted event and keyword fields, as JSON for machines or in colour for a person."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from docsluice.text.printable import harmless, printable

LOGGERS = ("docsluice", "docsluice_consumer")
"""Those of all our modules."""
_OF_MANY_LINES = frozenset({"exception", "stack"})


def _as_it_is(value: Any) -> Any:
    return value


def configure_logs(
    *, log_format: Literal["json", "console"], level: str = "INFO", cut: Callable[[Any], Any] = _as_it_is
) -> None:
    """Send our logs, and those of the libraries from WARNING on, to standard error in one format.

    `cut` removes secrets from the fields of a line, stack traces included.
    """

    def without_secrets(_logger: Any, _name: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = cut(dict(fields))
        return found

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]  # it escapes everything but ASCII
        if log_format == "json"
        else [_harmless_fields, structlog.dev.ConsoleRenderer(colors=_takes_colours(sys.stderr))]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, without_secrets, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in LOGGERS:
        logging.getLogger(ours).setLevel(level)
    # aiokafka repeats a broker's absence several times a second. The service says it once, with what it does about it.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _takes_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal that wants colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _harmless_fields(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep foreign text from moving the cursor or forging a line. Only stack traces have several lines."""
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = harmless(value) if name in _OF_MANY_LINES else printable(value)
    return fields


class Throttle:
    """Lets each kind of complaint through once in `seconds`, and counts those in between."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._silenced: dict[str, int] = {}

    def silenced(self, kind: str) -> int | None:
        """None if this complaint must be silent, else how many were silenced since the last one."""
        now = time.monotonic()
        if now - self._last.get(kind, float("-inf")) < self._seconds:
            self._silenced[kind] = self._silenced.get(kind, 0) + 1
            return None
        self._last[kind] = now
        return self._silenced.pop(kind, 0)
