"""Topics in memory do what a broker's do."""

from __future__ import annotations

import pytest

import docsluice
from docsluice.testing.topics import MemoryTopics
from tests.fakes.topic_contracts import Place, TopicsContract


class TestTopicsInMemory(TopicsContract):
    """See `TopicsContract`."""

    @pytest.fixture
    async def place(self) -> Place:
        """Topics with the names of the settings' defaults."""
        names = {"input": "documents", "result": "documents.results", "dead_letter": "documents.dlq"}
        return Place(connection={"topics": MemoryTopics(most_bytes=20_000)}, topics=names, idle_seconds=0.05)


async def test_two_members_of_a_group_share_the_partitions() -> None:
    """Each record goes to one of them, and to the other once that has left."""
    topics = MemoryTopics(partitions=2)
    async with docsluice.DocumentProducer(topics=topics) as producer:
        await producer.send_many({"document_id": f"d{n}", "text": "T"} for n in range(20))
    assert len({one.partition for one in topics.records("documents")}) == 2
