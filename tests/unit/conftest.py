"""What several unit tests need."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Logging is the process's. A test that configures it leaves it as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, levels = (
        root.handlers[:],
        {name: logging.getLogger(name).level for name in ("", "docsluice", "docsluice_consumer", "aiokafka")},
    )
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(**before)
