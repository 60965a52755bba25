"""Every scenario, by name, in the order in which they are run."""

from __future__ import annotations

from tests.acceptance.faults.scenario import Scenario
from tests.acceptance.faults.scenarios.of_replicas import KILL9, ROLLING, ZOMBIE
from tests.acceptance.faults.scenarios.of_the_broker import BROKER_AWAY, BROKER_FAR, BROKER_RESTART, CUT_ACK
from tests.acceptance.faults.scenarios.of_the_provider import HANG, SLOW_DOCUMENT
from tests.acceptance.faults.scenarios.of_the_topic import GAPS, METADATA_DAMAGED, PARTITIONS_ADDED

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        KILL9,
        ROLLING,
        ZOMBIE,
        BROKER_RESTART,
        BROKER_AWAY,
        BROKER_FAR,
        CUT_ACK,
        HANG,
        SLOW_DOCUMENT,
        PARTITIONS_ADDED,
        GAPS,
        METADATA_DAMAGED,
    )
}
