"""A broker that is restarted, cannot be reached, or does what it was asked and cannot say so."""

from __future__ import annotations

import asyncio

from tests.acceptance.faults.frames import Api
from tests.acceptance.faults.scenario import Scenario
from tests.acceptance.faults.stage import GaveUp, Stage

_AWAY_SECONDS = 60.0
_CUTS = 60
_DOCUMENTS_FOR_A_CUT = 10
_SLOW_SECONDS = 0.002
_FAR_SECONDS = 0.03
_ARMED_SECONDS = 8.0

_PLAIN_APIS = (Api.PRODUCE, Api.OFFSET_COMMIT)
_TRANSACTION_APIS = (
    Api.PRODUCE,
    Api.ADD_PARTITIONS_TO_TXN,
    Api.ADD_OFFSETS_TO_TXN,
    Api.TXN_OFFSET_COMMIT,
    Api.END_TXN,
)


async def _restart(stage: Stage) -> None:
    """The broker is shut down in order and started again. Later it is killed and started again."""
    broker = stage.ground.broker
    await stage.begin(stage.documents)
    async with stage.feed.coming(stage.watch):
        for number, end in enumerate((broker.stop, broker.kill), start=1):
            await stage.until_ended(stage.documents * number // 4)
            await asyncio.to_thread(end)
            await asyncio.to_thread(broker.start)
            stage.fault_ended()
            await stage.until_more_ended(50)


async def _away(stage: Stage) -> None:
    """For a minute, no replica can reach the broker, which stays up and gives the whole group up."""
    await stage.begin(stage.documents)
    async with stage.feed.coming(stage.watch):
        await stage.until_ended(stage.documents // 4)
        await asyncio.to_thread(stage.ground.proxy.refuse)
        try:
            await asyncio.sleep(_AWAY_SECONDS)
        finally:
            await asyncio.to_thread(stage.ground.proxy.accept)
        stage.fault_ended()
        await stage.until_more_ended(50)


async def _cut_ack(stage: Stage) -> None:
    """Again and again, the broker does what it was asked and the connection breaks before it can say so."""
    proxy = stage.ground.proxy
    await stage.begin(stage.documents)
    proxy.delay(_SLOW_SECONDS)
    try:
        cuts = max(5, min(_CUTS, stage.documents // _DOCUMENTS_FOR_A_CUT))
        async with stage.feed.coming(stage.watch):
            for _ in range(cuts):
                await stage.until_more_ended(stage.draws.randrange(1, 20))
                await _cut_one(stage)
                stage.fault_ended()
    finally:
        proxy.swallow_next(())
        proxy.delay(0.0)
    stage.notes.append(f"swallowed: {', '.join(f'{api.name} {count}' for api, count in proxy.swallowed.items())}")


async def _cut_one(stage: Stage) -> None:
    """Swallow one answer. An API that is not used just now is given up again, for another to be drawn."""
    proxy = stage.ground.proxy
    if stage.draws.random() < 0.1:
        await asyncio.to_thread(proxy.cut_all)
        return
    api = stage.draws.choice(_TRANSACTION_APIS if stage.exactly_once else _PLAIN_APIS)
    before = proxy.swallowed.total()
    proxy.swallow_next({api})
    try:
        async with asyncio.timeout(_ARMED_SECONDS):
            await stage.until(lambda: proxy.swallowed.total() > before, what=f"the answer to {api.name} is swallowed")
    except (TimeoutError, GaveUp):
        proxy.swallow_next(())


async def _far(stage: Stage) -> None:
    """The broker is on another continent. The consumers find it idle, work, and find it idle again."""
    stage.ground.proxy.delay(_FAR_SECONDS)
    try:
        await stage.begin(stage.documents // 2)
        await stage.until_ended(stage.documents // 2)
        await stage.feed.send(stage.feed.events(stage.documents // 2))
        await stage.until_all_ended()
    finally:
        stage.ground.proxy.delay(0.0)


BROKER_FAR = Scenario(name="broker-far", play=_far, documents=500, timeout_seconds=60.0)
BROKER_RESTART = Scenario(name="broker-restart", play=_restart, documents=1_000)
BROKER_AWAY = Scenario(name="broker-away", play=_away, documents=1_000)
CUT_ACK = Scenario(name="cut-ack", play=_cut_ack, documents=2_000)
