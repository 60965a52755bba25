"""An input topic that grows, has gaps, or whose commits somebody has tampered with."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.acceptance.faults import topics
from tests.acceptance.faults.feed import Event, producing
from tests.acceptance.faults.scenario import Scenario
from tests.acceptance.faults.stage import Stage

_HOLD = "[[rehearse:hold]]"
_TRANSACTION_DOCUMENTS = 20
_ABORTED_SHARE = 0.3
_SEGMENT_MS = 100
_LATER_DOCUMENTS = 5
_SETTLED_SECONDS = 1.0


async def _partitions_added(stage: Stage) -> None:
    """The input topic gets twice as many partitions while its documents are being worked on."""
    names, direct = stage.names, stage.ground.direct
    before = len(await topics.partitions_of(direct, names.input))
    added = range(before, 2 * before)
    await stage.begin(stage.documents * 3 // 4)
    await stage.until_ended(stage.documents // 4)
    await topics.add_partitions(direct, names.input, 2 * before)
    stage.fault_ended()
    added_at = time.monotonic()

    async def there() -> bool:
        return len(await topics.partitions_of(direct, names.input)) == 2 * before

    await stage.until(there, what="the new partitions are there")
    for partition in added:
        await stage.feed.send(stage.feed.events(-(-stage.documents // 4 // before)), partition=partition)
    await stage.until(
        lambda: any(place.partition in added for place in stage.watch.ended), what="a new partition is read"
    )
    stage.notes.append(f"first outcome from a new partition after {time.monotonic() - added_at:.0f} s")


async def _gaps(stage: Stage) -> None:
    """Offsets are missing everywhere: transaction markers, aborted transactions, compacted records."""
    names, direct = stage.names, stage.ground.direct
    sent = await _send_in_transactions(stage, stage.documents)

    async def compacted() -> bool:
        return len(await topics.read_all(direct, names.input)) < sent

    await stage.until(compacted, what="the broker compacts the input topic")
    # Compaction must not take away under the replicas' eyes what the account will look for.
    await topics.configure(direct, names.input, {"cleanup.policy": "delete"})
    left = await _settled(stage)
    stage.notes.append(f"{sent} committed, {left} left by compaction")
    await stage.replicas.start()
    await stage.until_ended(left // 3)
    victim = stage.replicas.any_running(stage.draws)
    if victim is not None:
        await victim.kill()
    await _send_in_transactions(stage, stage.documents // 4)
    if victim is not None:
        await victim.start()
        stage.fault_ended()


async def _send_in_transactions(stage: Stage, count: int) -> int:
    """Send at least so many documents in small transactions, some of them aborted. Returns how many were committed."""
    sent = 0
    keys = [f"key-{number}" for number in range(max(1, stage.documents // 2))]
    transactional_id = f"{stage.names.run}.feed"
    async with producing(stage.ground.direct, transactional_id=transactional_id) as producer:
        while sent < count:
            events = [stage.feed.event(key=stage.draws.choice(keys)) for _ in range(_TRANSACTION_DOCUMENTS)]
            await producer.begin_transaction()
            await asyncio.gather(
                *[await producer.send(stage.names.input, value=event.value, key=event.key.encode()) for event in events]
            )
            if stage.draws.random() < _ABORTED_SHARE:
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()
                sent += len(events)
            # A segment is rolled by the first append after its time, and only rolled segments are compacted.
            await asyncio.sleep(_SEGMENT_MS / 1000)
    return sent


async def _settled(stage: Stage) -> int:
    """Wait until no cleaning that was under way shortens the topic any more. Returns what is left."""
    seen = -1

    async def unchanged() -> bool:
        nonlocal seen
        before, seen = seen, len(await topics.read_all(stage.ground.direct, stage.names.input))
        await asyncio.sleep(_SETTLED_SECONDS)
        return before == seen

    await stage.until(unchanged, what="compaction comes to an end")
    return seen


async def _metadata_damaged(stage: Stage) -> None:
    """While the group is stopped, somebody overwrites its commit metadata with rubbish of every kind."""
    names, direct = stage.names, stage.ground.direct
    partitions = await topics.partitions_of(direct, names.input)
    await stage.begin(0)
    # The first document of each partition is held, so that everything else has ended above the committed offset.
    for partition in partitions:
        held: Sequence[Event] = [stage.feed.event(marker=_HOLD)]
        await stage.feed.send(held, partition=partition.partition)
    await stage.feed.send(stage.feed.events(stage.documents))
    await stage.until_ended(stage.documents)
    await stage.replicas.terminate()

    async def empty() -> bool:
        return await stage.members() == ("Empty", 0)

    await stage.until(empty, what="the sessions of the stopped replicas end")
    await _damage(stage, partitions)
    for replica in stage.replicas:
        await replica.start()
    stage.fault_ended()
    # A map that claims more than there was would swallow these.
    for partition in partitions:
        await stage.feed.send(stage.feed.events(_LATER_DOCUMENTS), partition=partition.partition)
    await stage.provider.release()


async def _damage(stage: Stage, partitions: Sequence[TopicPartition]) -> None:
    """Commit the same offsets with other metadata, a different kind of damage for each partition."""
    commits = await topics.committed(stage.ground.direct, stage.names.group)
    damaged = {
        partition: (commits[partition].offset, _damaged(commits[partition].metadata, kind=number, draws=stage.draws))
        for number, partition in enumerate(partitions)
        if partition in commits
    }
    stage.notes.append(f"metadata before: {sum(bool(commit.metadata) for commit in commits.values())} not empty")
    intruder = AIOKafkaConsumer(
        bootstrap_servers=stage.ground.direct, group_id=stage.names.group, enable_auto_commit=False
    )
    await intruder.start()
    try:
        intruder.assign(list(damaged))
        await intruder.commit(damaged)
    finally:
        await intruder.stop()


def _damaged(metadata: str, *, kind: int, draws: random.Random) -> str:
    """The real metadata cut, changed by one character or with its last number raised, or something else altogether."""
    place = draws.randrange(len(metadata)) if metadata else 0
    kinds = (
        metadata[: len(metadata) // 2],
        metadata[:place] + ("B" if metadata[place : place + 1] == "A" else "A") + metadata[place + 1 :],
        "\u2603 not ours \x00\x7f",
        '{"version": 99, "ended": [[0, 9223372036854775807]]}',
        "",
        "A" * 4_000,
        re.sub(r"\d+(?=\D*$)", lambda found: str(int(found[0]) + _LATER_DOCUMENTS), metadata),
    )
    return kinds[kind % len(kinds)]


PARTITIONS_ADDED = Scenario(
    # A client that is told nothing looks for new partitions every five minutes.
    name="partitions-added",
    play=_partitions_added,
    documents=1_000,
    partitions=3,
    timeout_seconds=420.0,
)
GAPS = Scenario(
    name="gaps",
    play=_gaps,
    documents=1_000,
    partitions=3,
    topic={
        "cleanup.policy": "compact",
        "segment.ms": str(_SEGMENT_MS),
        "min.cleanable.dirty.ratio": "0.01",
        "min.compaction.lag.ms": "0",
        "delete.retention.ms": "0",
    },
)
METADATA_DAMAGED = Scenario(
    name="metadata-damaged",
    play=_metadata_damaged,
    documents=600,
    partitions=7,
    settings={"DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "600", "DOCSLUICE_DRAIN_SECONDS": "2"},
    repeats_allowed="what the metadata said is destroyed",
)
