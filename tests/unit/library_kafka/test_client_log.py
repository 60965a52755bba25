"""The client's log is kept quiet while somebody listens, and no longer."""

from __future__ import annotations

import logging

from docsluice.kafka.client_log import ClientLog


def test_listeners_that_overlap_leave_the_log_as_it_was() -> None:
    """In whatever order they end: a program may have several subscriptions."""
    logger = logging.getLogger("aiokafka")
    before, one, two = logger.propagate, ClientLog().listening_to_warnings(), ClientLog().listening_to_warnings()
    with one:
        two.__enter__()
        assert not logger.propagate
    assert not logger.propagate, "the other still listens"
    two.__exit__(None, None, None)
    assert logger.propagate == before
