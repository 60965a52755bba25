"""Writes batches as they are, which no client of ours would."""

from __future__ import annotations

import random
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest

from tests.fakes.batches import RawRecord, batch, zeros_of
from tests.integration.wire import Record, Wire

_TIMEOUT_MS = 60_000


async def produce_batches(wire: Wire, batches: Iterable[bytes], *, partition: int = 0, role: str = "input") -> None:
    """Write batches to a partition of one of the topics, one request each."""
    topic = wire.topics[role]
    client = AIOKafkaClient(bootstrap_servers=wire.bootstrap_servers, request_timeout_ms=_TIMEOUT_MS)
    await client.bootstrap()
    try:
        await client.add_topic(topic)
        for data in batches:
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            request = ProduceRequest(None, -1, _TIMEOUT_MS, [(topic, [(partition, data)])])
            ((_, ((_, code, *_),)),) = (await client.send(leader, request)).topics
            assert code == 0, f"the broker refuses the batch with code {code}"
    finally:
        await client.close()


def far_repeats() -> bytes:
    """24 MB that zstd makes 400 kB of, and gzip nothing."""
    return b"{" + random.Random(3).randbytes(400 * 1024) * 60


def in_zstd(value: bytes, key: bytes) -> bytes:
    """A batch with one record, as a producer with `compression.type=zstd` writes it."""
    return batch([RawRecord(value=value, key=key)], codec="zstd")


def odd_header_name(before: Record, after: Record) -> bytes:
    """A batch of three, of which the middle one has a header whose name is not UTF-8."""
    odd = RawRecord(value=b'{"document_id": "odd", "text": "Odd."}', key=b"poison", headers=[(b"caf\xe9", b"1")])
    return batch([RawRecord(value=before.value, key=before.key), odd, RawRecord(value=after.value, key=after.key)])


def bomb(codec: str, size: int = 2**30) -> bytes:
    """A batch of some 30 kB (zstd) or 1 MB (gzip) with one record of a gigabyte."""
    return batch(zeros_of(size, codec), codec=codec)
