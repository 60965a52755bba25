"""What the event loop complains of, and what is made of it."""

from __future__ import annotations

import asyncio
import gc

import pytest
from aiokafka.errors import ProducerFenced

from docsluice_consumer.telemetry.loop_errors import LoopErrors


@pytest.mark.parametrize(("error", "is_told"), [(ProducerFenced(), False), (ValueError("ours"), True)])
async def test_a_failed_transaction_is_told_once(
    error: Exception, caplog: pytest.LogCaptureFixture, *, is_told: bool
) -> None:
    """By the one who has committed it. A future that nobody has looked at is a bug, unless it is aiokafka's own."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())
    loop.create_future().set_exception(error)
    gc.collect()
    assert bool(caplog.records) is is_told
