"""What goes together, what goes alone, and what a refusal changes, at least once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_errors import CodecRefused, RecordRefused
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka import at_least_once as sink_module
from docsluice_consumer.kafka.at_least_once import AtLeastOnceSink
from docsluice_consumer.kafka.records import OutgoingRecord
from tests.fakes.samples import record

LARGE = random.Random(1).randbytes(500)


class Cluster:
    """A broker that refuses what it is told to, and whose clients are spent by a refusal."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.sent: list[bytes] = []
        self.refuses: dict[bytes, type[KafkaError]] = {}
        self.refused_codecs: set[str] = set()
        self.unheard_of: set[bytes] = set()
        """What is sent to a topic of which the first producer has not heard yet."""

    def producer(self, *, compression_type: str, **_: Any) -> Producer:
        return Producer(self, compression_type)

    async def most_bytes_of(self, *_: Any) -> None:
        return None


class Producer:
    def __init__(self, cluster: Cluster, codec: str) -> None:
        self._cluster = cluster
        self._codec = codec
        self._is_spent = False
        self.client = self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None: ...

    async def send_and_wait(self, _topic: str, *, value: bytes, **_: Any) -> None:
        await asyncio.sleep(0)
        if value in self._cluster.unheard_of:
            self._cluster.unheard_of.remove(value)
            await asyncio.Event().wait()
        if self._is_spent:
            raise OutOfOrderSequenceNumber
        self._cluster.sent.append(value)
        refusal = self._cluster.refuses.get(value)
        if self._codec in self._cluster.refused_codecs:
            refusal = CodecRefused
        if refusal is not None:
            self._is_spent = True
            raise refusal
        self._cluster.taken.append((self._codec, value))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(sink_module, "AIOKafkaProducer", cluster.producer)
    monkeypatch.setattr(sink_module, "most_bytes_of", cluster.most_bytes_of)
    return cluster


async def _published(*values: bytes, alone: bool = False) -> Sequence[BaseException | None]:
    """Publish one after the other, and return how each ended."""
    sink = await AtLeastOnceSink.open(Broker(bootstrap_servers="nowhere:1"))
    ends: list[BaseException | None] = []
    for value in values:
        out = OutgoingRecord(
            topic="dlq", key=b"k", value=value, headers=[], alone=alone, compression="zstd" if alone else "gzip"
        )
        try:
            await sink.publish(out, ending=record())
        except RecordRejected as error:
            ends.append(error)
        else:
            ends.append(None)
    await sink.close()
    return ends


async def test_what_is_alone_is_compressed_as_it_wishes(cluster: Cluster) -> None:
    """Others are read by every client."""
    assert await _published(b"a") == [None]
    assert await _published(b"b", b"c", alone=True) == [None, None]
    assert cluster.taken == [("gzip", b"a"), ("zstd", b"b"), ("zstd", b"c")]


async def test_a_refused_codec_is_replaced_for_good(cluster: Cluster) -> None:
    """Some brokers know gzip only: they are asked once."""
    cluster.refused_codecs = {"zstd"}
    assert await _published(b"a", b"b", alone=True) == [None, None]
    assert cluster.taken == [("gzip", b"a"), ("gzip", b"b")]
    assert cluster.sent == [b"a", b"a", b"b"]


@pytest.mark.parametrize(("kind", "reason"), [(MessageSizeTooLargeError, "too_large"), (RecordRefused, "rejected")])
@pytest.mark.parametrize("alone", [False, True])
async def test_a_refused_record_is_rejected_and_the_next_goes_on(
    cluster: Cluster, kind: type[KafkaError], reason: str, *, alone: bool
) -> None:
    """With a new producer: the old one's sequence numbers are spent."""
    cluster.refuses = {LARGE: kind}
    rejected, after = await _published(LARGE, b"after", alone=alone)
    assert isinstance(rejected, RecordRejected)
    assert (rejected.reason, after) == (reason, None)
    assert [value for _, value in cluster.taken] == [b"after"]


async def test_no_send_outlives_its_producer(cluster: Cluster) -> None:
    """A producer that is replaced while a send waits for its topic would leave it waiting for ever."""
    cluster.unheard_of, cluster.refuses = {b"waits"}, {b"refused": RecordRefused}
    sink = await AtLeastOnceSink.open(Broker(bootstrap_servers="nowhere:1"))
    one, another = (
        OutgoingRecord(topic=topic, key=b"k", value=value, headers=[], alone=False, compression="gzip")
        for topic, value in (("results", b"waits"), ("dlq", b"refused"))
    )
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(sink.publish(one, ending=record()))
        with pytest.raises(RecordRejected):
            await sink.publish(another, ending=record())
    assert ("gzip", b"waits") in cluster.taken
    await sink.close()


async def test_what_is_known_not_to_fit_is_not_sent(cluster: Cluster) -> None:
    """A refusal teaches."""
    cluster.refuses = {LARGE: MessageSizeTooLargeError, LARGE + LARGE: MessageSizeTooLargeError}
    ends = await _published(LARGE, LARGE + LARGE)
    assert all(isinstance(end, RecordRejected) for end in ends)
    assert LARGE + LARGE not in cluster.sent
