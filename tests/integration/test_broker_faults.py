"""A broker that is away, comes back, or will not serve us, and, on Apache Kafka, a group of several members."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from docsluice_consumer.errors import BrokerFault, ConfigurationError
from docsluice_consumer.service import Service
from docsluice_local.broker import Broker, embedded_broker
from docsluice_local.process import free_port
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.integration.wire import WATCHDOG_SECONDS, Wire, document, serving, until


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may stop."""
    with embedded_broker(data_dir=tmp_path / "broker") as broker:
        yield broker


async def test_waits_for_a_broker_that_is_away_at_start(tmp_path: Path, provider: RehearsalProvider) -> None:
    """Started first, the service waits for the broker and then works."""
    port = free_port()
    wire = Wire(bootstrap_servers=f"127.0.0.1:{port}")
    service, stop = Service(wire.settings(provider.base_url)), asyncio.Event()
    run = asyncio.create_task(service.run(stop))

    async def listening() -> bool:
        return service.http_port != 0

    await until(listening, what="the health endpoint is up before the broker")
    assert service.why_not_ready() is not None
    assert service.why_not_live() is None
    with embedded_broker(data_dir=tmp_path / "broker", port=port):
        await wire.produce([document("first")])
        found = await wire.outcomes(1)
        stop.set()
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await run
    assert found[0].document_id == "first"


async def test_can_be_stopped_while_waiting_for_the_broker(provider: RehearsalProvider) -> None:
    """A service that never found its broker still stops when told to."""
    wire = Wire(bootstrap_servers=f"127.0.0.1:{free_port()}")
    stop = asyncio.Event()
    run = asyncio.create_task(Service(wire.settings(provider.base_url)).run(stop))
    await asyncio.sleep(0.2)  # into the wait
    assert not run.done()
    stop.set()
    async with asyncio.timeout(WATCHDOG_SECONDS):
        await run


async def test_rides_out_a_broker_restart(own_broker: Broker) -> None:
    """The broker goes away in the middle of the work and comes back: every document still gets its result."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(60))
    async with (
        rehearsal_provider(RehearsalSettings(median_seconds=0.2)) as provider,
        serving(wire.settings(provider.base_url, mode="fused", max_concurrency=4)),
    ):

        async def begun() -> bool:
            return len(provider.calls) > 10

        await until(begun, what="the work is under way")
        await asyncio.to_thread(own_broker.stop)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(own_broker.start)
        ids: set[str] = set()

        async def all_there() -> bool:
            ids.update(outcome.document_id for outcome in await wire.outcomes(await wire.count("result")))
            return len(ids) == 60

        await until(all_there, what="all sixty results")
    assert await wire.count("dead_letter") == 0
    assert await wire.committed() == 60


@pytest.mark.kafka
async def test_a_topic_that_the_broker_will_not_make(kafka_wire: Wire, provider: RehearsalProvider) -> None:
    """A name too much like another one's stops the service with the topic's name."""
    await kafka_wire.create_topics()
    alike = kafka_wire.topics["input"].replace(".", "_")
    with pytest.raises(BrokerFault, match=rf"topic {alike} "):
        async with serving(kafka_wire.settings(provider.base_url, input_topic=alike)):
            pass


async def test_a_port_that_is_taken(wire: Wire, provider: RehearsalProvider) -> None:
    """A second service on the same port says which setting to change."""
    async with serving(wire.settings(provider.base_url)) as first:
        with pytest.raises(ConfigurationError, match="DOCSLUICE_HTTP_PORT"):
            async with serving(wire.settings(provider.base_url, http_port=first.http_port)):
                pass


@pytest.mark.kafka
async def test_a_rebalance_keeps_the_work_in_flight(kafka_wire: Wire) -> None:
    """When a member joins, the other goes on with the calls of the partitions it keeps: none is asked twice."""
    wire = kafka_wire
    await wire.create_topics(partitions=1)
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(6))
    async with rehearsal_provider(RehearsalSettings(median_seconds=6.0)) as provider:
        settings = wire.settings(provider.base_url, mode="fused", max_concurrency=6)
        async with serving(settings):

            async def all_asked() -> bool:
                return len(provider.calls) == 6

            await until(all_asked, what="all calls are in flight")
            # It joins the group with a topic of its own: a rebalance in which no partition can change hands.
            async with serving(wire.settings(provider.base_url, input_topic=f"{wire.name}.another")):
                found = await wire.outcomes(6)
        assert len(provider.calls) == 6
    assert {outcome.document_id for outcome in found} == {f"d{n}" for n in range(6)}
