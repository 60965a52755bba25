"""Replicas that die, are restarted, or are frozen."""

from __future__ import annotations

from tests.acceptance.faults.idleness import idleness_of, rebalance_seconds
from tests.acceptance.faults.scenario import Scenario
from tests.acceptance.faults.stage import Stage

_KILLS = 10
_DOCUMENTS_FOR_A_KILL = 40


async def _kill9(stage: Stage) -> None:
    """`kill -9` of a random replica at random moments of the work, restarted each time."""
    await stage.begin(stage.documents)
    kills = max(2, min(_KILLS, stage.documents // _DOCUMENTS_FOR_A_KILL))
    # Moments are counted in documents: however fast the machine, every kill falls into the work.
    for moment in sorted(stage.draws.sample(range(stage.documents * 9 // 10), kills)):
        await stage.until_ended(moment)
        victim = stage.replicas.any_running(stage.draws)
        if victim is not None:
            await victim.kill()
            await victim.start()
            stage.fault_ended()


async def _rolling(stage: Stage) -> None:
    """One replica after the other gets SIGTERM, drains, and is started again, while documents keep coming."""
    await stage.begin(stage.documents)
    async with stage.feed.coming(stage.watch), idleness_of(stage.replicas) as idleness:
        await stage.until_ended(stage.documents // 10)
        for replica in stage.replicas:
            code = await replica.terminate()
            if code:
                stage.notes.append(f"{replica.name} answered SIGTERM with exit code {code}")
            await replica.start_and_wait()
            stage.fault_ended()
            await stage.until_more_ended(20)
    rebalances = list(rebalance_seconds(replica.child.log_path for replica in stage.replicas))
    stage.notes.append(
        f"a replica that ran stood idle for {idleness.longest_seconds:.1f} s at most;"
        f" of {len(rebalances)} rebalances the longest took {max(rebalances, default=0.0):.1f} s"
    )


async def _zombie(stage: Stage) -> None:
    """A replica is frozen until the group has given its partitions away, and then thaws in the middle of its work."""
    await stage.begin(stage.documents)
    everyone = len(list(stage.replicas))
    async with stage.feed.coming(stage.watch):
        await stage.until_ended(stage.documents // 10)
        frozen = stage.replicas.any_running(stage.draws)
        if frozen is None:
            return
        frozen.freeze()
        try:

            async def evicted() -> bool:
                return await stage.members() == ("Stable", everyone - 1)

            await stage.until(evicted, what="the frozen replica's session ends")
            await stage.until_more_ended(50)
        finally:
            frozen.thaw()
        stage.fault_ended()

        async def back() -> bool:
            return await stage.members() == ("Stable", everyone)

        await stage.until(back, what="the replica that thawed is a member again")
        await stage.until_more_ended(50)


KILL9 = Scenario(name="kill9", play=_kill9, documents=2_000, only_kills=True)
ROLLING = Scenario(name="rolling", play=_rolling, documents=1_000)
ZOMBIE = Scenario(name="zombie", play=_zombie, documents=1_000)
