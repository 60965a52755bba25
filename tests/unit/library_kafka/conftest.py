"""Leaves aiokafka as it was: what is put in the place of its parts holds for the whole process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka.consumer import consumer, fetcher

from docsluice.kafka.batch_reading import read_past_flaws


@pytest.fixture(autouse=True)
def aiokafka_as_it_was() -> Iterator[None]:
    """Otherwise other tests of the process would read with the small bounds of these."""
    before = consumer.Fetcher, fetcher.MemoryRecords, fetcher.PartitionRecords
    yield
    read_past_flaws()
    consumer.Fetcher, fetcher.MemoryRecords, fetcher.PartitionRecords = before
