"""The library against real brokers: what is sent, and what subscribers read."""

from __future__ import annotations

import pytest

from tests.fakes.topic_contracts import Place, TopicsContract
from tests.integration.wire import Wire


class TestTopicsOfABroker(TopicsContract):
    """See `TopicsContract`. One member of a group is what both brokers serve."""

    @pytest.fixture
    async def place(self, wire: Wire) -> Place:
        """Topics of this test alone."""
        await wire.create_topics(max_message_bytes={"input": 20_000})
        return Place(connection={"bootstrap_servers": wire.bootstrap_servers}, topics=wire.topics)
