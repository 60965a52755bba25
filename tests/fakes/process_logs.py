"""Logging is the process's: what a test sets up is taken back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import structlog

_LOGGERS = ("", "docsluice", "docsluice_consumer", "aiokafka")


@contextlib.contextmanager
def logs_as_before() -> Iterator[None]:
    """After the block, all is as it was before it."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        structlog.configure(**before)
