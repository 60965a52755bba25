"""The service beside a real broker: how much is left, a broker that is gone, records that retention took."""

from __future__ import annotations

import asyncio
import functools
import math
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from docsluice.kafka import clients
from docsluice_consumer.kafka import assignment, open_transactions, watch
from docsluice_consumer.service import Service
from docsluice_local.broker import Broker, embedded_broker
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.wire import Wire, document, scraped, serving, until


async def _shown(service: Service, name: str, **labels: str) -> float:
    return (await scraped(service)).get((f"docsluice_{name}", frozenset(labels.items())), math.nan)


@pytest.mark.kafka
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_nothing_is_left_though_markers_stand_at_the_end(
    kafka_wire: Wire, provider: RehearsalProvider, delivery: str
) -> None:
    """A marker, or records of an aborted transaction, are passed: the committed offset is the end and the lag is 0."""
    wire = kafka_wire
    await wire.create_topics()
    async with (
        AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers, transactional_id=f"{wire.name}.tx") as sender,
        serving(wire.settings(provider.base_url, mode="fused", delivery=delivery)) as service,
    ):
        for end, is_aborted in ((4, False), (8, True)):
            await sender.begin_transaction()
            for number in range(3):
                event = document(f"{end}-{number}")
                await sender.send_and_wait(wire.topics["input"], value=event.value, key=event.key)
            await (sender.abort_transaction() if is_aborted else sender.commit_transaction())

            async def all_passed(end: int = end) -> bool:
                return await wire.committed() == end

            async def none_left() -> bool:
                return await _shown(service, "backlog_documents") == 0

            await until(all_passed, what="the committed offset is the end")
            await until(none_left, what="the backlog is 0")
    assert await wire.count("result") == 3


async def test_the_backlog_is_right_while_nothing_is_read(
    wire: Wire, provider: RehearsalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a spent budget what comes in is counted all the same, and nobody says when it will be done."""
    monkeypatch.setattr(watch, "_LOOK_EVERY_SECONDS", 0.5)
    await wire.create_topics()
    settings = wire.settings(provider.base_url, mode="fused", budget_usd_per_hour="0.000001", max_concurrency=1)
    async with serving(settings) as service:
        total = 0
        for count in (20, 30):
            await wire.produce(document(f"d{total + number}") for number in range(count))
            total += count

            async def counted(total: int = total) -> bool:
                done = await _shown(service, "documents_total", outcome="result")
                return await _shown(service, "backlog_documents") == total - done

            async def is_paused() -> bool:
                return await _shown(service, "consumption_paused", reason="budget") == 1

            await until(is_paused, what="the budget is spent")
            await until(counted, what=f"the backlog is what is left of {total}")
        assert math.isnan(await _shown(service, "backlog_eta_seconds"))


@pytest.mark.kafka
async def test_records_that_retention_took_are_told(kafka_wire: Wire, provider: RehearsalProvider) -> None:
    """Deleted while the service was down: it goes on at the first that is there, and says which are gone."""
    wire = kafka_wire
    await wire.create_topics()
    await wire.produce(document(f"d{number}") for number in range(5))
    settings = wire.settings(provider.base_url, mode="fused")
    async with serving(settings):
        await wire.outcomes(5)
    await wire.produce(document(f"d{number}") for number in range(5, 20))
    await _delete_before(wire, 15)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings) as service:
            found = await wire.outcomes(10)
            lost = await _shown(service, "records_lost_total", topic=wire.topics["input"], partition="0")
    assert {outcome.document_id for outcome in found} == {f"d{number}" for number in (*range(5), *range(15, 20))}
    (line,) = [line for line in logs if line["event"] == "records.lost"]
    assert (line["first_offset"], line["last_offset"]) == (5, 14)
    assert lost == 10


@pytest.fixture
def _soon_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(watch, "_DIAGNOSE_AFTER_SECONDS", 2.0)
    monkeypatch.setattr(watch, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(watch, "_LOOK_EVERY_SECONDS", 0.5)
    # And soon given up, when the service stops without it.
    monkeypatch.setattr(assignment, "_LAST_COMMIT_SECONDS", 1.0)
    monkeypatch.setattr(clients, "_STOP_SECONDS", 1.0)


def _of_the_watch(logs: list[Any]) -> list[Any]:
    return [line for line in logs if str(line["event"]).startswith("broker.") and "doing" not in line]


@pytest.mark.usefixtures("_soon_silent")
async def test_a_broker_that_is_gone_is_seen(own_broker: Broker, provider: RehearsalProvider) -> None:
    """With nothing to do, too: the service is not ready, and one line names the broker and the cause."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    with structlog.testing.capture_logs() as logs:
        async with serving(wire.settings(provider.base_url, drain_seconds=1)) as service:

            async def is_seen() -> bool:
                return "connection refused" in (service.why_not_ready() or "")

            await asyncio.to_thread(own_broker.stop)
            await until(is_seen, what="the service says that the broker is gone, and why")
            assert await _shown(service, "broker_silent_seconds") >= watch.SILENT_SECONDS

            async def is_said() -> bool:
                return len(_of_the_watch(logs)) > 1

            await until(is_said, what="the log says so")
    away, said = _of_the_watch(logs)
    assert away["event"] == "broker.away"
    assert (said["event"], said["broker"]) == ("broker.silent", own_broker.bootstrap_servers)
    assert said["cause"] == "connection refused"


@pytest.mark.usefixtures("_soon_silent")
async def test_a_broker_that_comes_back_is_said_once(tmp_path: Path, provider: RehearsalProvider) -> None:
    """And the service is ready again, by itself."""
    with embedded_broker(data_dir=tmp_path / "broker") as broker, structlog.testing.capture_logs() as logs:
        wire = Wire(bootstrap_servers=broker.bootstrap_servers)
        await wire.create_topics()
        async with serving(wire.settings(provider.base_url)) as service:

            async def has_said(count: int) -> bool:
                return len(_of_the_watch(logs)) == count

            await asyncio.to_thread(broker.stop)
            await until(functools.partial(has_said, 2), what="the log says that the broker is gone")
            await asyncio.to_thread(broker.start)
            await until(functools.partial(has_said, 3), what="the log says that it answers")
            assert service.why_not_ready() is None
    assert [line["event"] for line in _of_the_watch(logs)] == ["broker.away", "broker.silent", "broker.answers"]


@pytest.mark.kafka
async def test_a_transaction_that_nobody_ends_is_named(
    kafka_wire: Wire, provider: RehearsalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is behind it cannot be read, so it is no backlog of ours, and the producer is to be looked for."""
    monkeypatch.setattr(open_transactions, "_LONG_SECONDS", 1.0)
    wire = kafka_wire
    await wire.create_topics()
    sender = AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers, transactional_id=f"{wire.name}.tx")
    await sender.start()
    with structlog.testing.capture_logs() as logs:
        async with serving(wire.settings(provider.base_url, mode="fused")) as service:
            await sender.begin_transaction()
            for number in range(3):
                await sender.send_and_wait(wire.topics["input"], value=document(f"d{number}").value)

            async def is_named() -> bool:
                return any(line["event"] == "transaction.open" for line in logs)

            await until(is_named, what="the open transaction is named")
            assert await _shown(service, "backlog_documents") == 0
            await sender.commit_transaction()
            assert len(await wire.outcomes(3)) == 3
    await sender.stop()
    (line,) = [line for line in logs if line["event"] == "transaction.open"]
    assert (line["partition"], line["offset"], line["records_behind_it"]) == (0, 0, 3)


async def test_a_log_without_records_has_no_lag(wire: Wire, provider: RehearsalProvider) -> None:
    """Everything was deleted up to its end before the group came: there is nothing to lose, and nothing left."""
    await wire.create_topics()
    await wire.produce(document(f"d{number}") for number in range(5))
    await _delete_before(wire, 5)
    async with serving(wire.settings(provider.base_url, mode="fused")) as service:

        async def none_left() -> bool:
            return await _shown(service, "backlog_documents") == 0

        await until(none_left, what="the backlog is 0")
        lost = await _shown(service, "records_lost_total", topic=wire.topics["input"], partition="0")
    assert lost == 0
    assert len(provider.calls) == 0


async def _delete_before(wire: Wire, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=wire.bootstrap_servers)
    await admin.start()
    await admin.delete_records({TopicPartition(wire.topics["input"], 0): RecordsToDelete(before_offset=offset)})
    await admin.close()
