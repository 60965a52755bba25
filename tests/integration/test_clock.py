"""A clock that is wrong: the broker takes no record of such a time, and nothing is lost by it."""

from __future__ import annotations

import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.wire import Wire, document, serving, until

_A_DAY_MS = 86_400_000

DOCUMENTS = 30


async def _accept(wire: Wire, *, milliseconds_before: int) -> None:
    """Set how far behind its own clock the broker takes the records of the result topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=wire.bootstrap_servers)
    await admin.start()
    try:
        config = {"message.timestamp.before.max.ms": str(milliseconds_before)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, wire.topics["result"], config)])
    finally:
        await admin.close()


@pytest.mark.kafka
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_a_clock_that_is_off_makes_documents_wait(
    kafka_wire: Wire, provider: RehearsalProvider, delivery: str
) -> None:
    """The service goes on, says what to set right, and publishes all once it is."""
    wire = kafka_wire
    await wire.create_topics()
    await _accept(wire, milliseconds_before=0)
    # Not all of them can be sent and stored within one millisecond.
    await wire.produce([document(f"d{n}", f"Text {n}.") for n in range(DOCUMENTS)])
    with structlog.testing.capture_logs() as logs:
        async with serving(wire.settings(provider.base_url, mode="fused", delivery=delivery)):

            async def is_said() -> bool:
                return any("the clocks of this machine and of the broker" in str(entry) for entry in logs)

            await until(is_said, what="the log says that a clock is wrong")
            await _accept(wire, milliseconds_before=_A_DAY_MS)
            found = await wire.outcomes(DOCUMENTS)
    assert {outcome.document_id for outcome in found} == {f"d{n}" for n in range(DOCUMENTS)}
    assert not any(outcome.is_dead_letter for outcome in found)
    assert await wire.count("result") == DOCUMENTS
