"""Which rights on the broker are missing, found without using any of them: nothing is written, joined or fenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest

from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.kafka.authorized_operations import GroupOperationsRequest, TopicOperationsRequest
from docsluice_consumer.kafka.connection import first_contact
from docsluice_consumer.kafka.probe import SendRequest, Unreachable, asked

log = structlog.get_logger(__name__)

_READ, _WRITE = 3, 4
"""Operations of Kafka's ACLs, each a bit in what it calls authorized operations (KIP-430)."""
_UNKNOWN_TOPIC, _NO_TOPIC_RIGHT, _NO_GROUP_RIGHT, _NO_CLUSTER_RIGHT, _NO_TRANSACTION_RIGHT = 3, 29, 30, 31, 53
_NOT_TOLD = -(2**31)
_CREATE_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a consumer uses. `transactional_ids` are examples, empty without exactly once."""

    input_topic: str
    result_topic: str
    dead_letter_topic: str
    routed_topics: Sequence[str] = ()
    group_id: str
    transactional_ids: Sequence[str] = ()

    def writes(self) -> dict[str, str]:
        """The topics that are written to, with their settings."""
        return {
            **dict.fromkeys(self.routed_topics, "output.route of the pipeline file"),
            self.result_topic: "DOCSLUICE_RESULT_TOPIC",
            self.dead_letter_topic: "DOCSLUICE_DEAD_LETTER_TOPIC",
        }


async def missing_rights(broker: Broker, needs: Needs, *, seconds: float, to_create: bool = False) -> list[str] | None:
    """Each missing right as an operation on a resource, with its setting. None if the broker cannot tell.

    `to_create`: also check whether missing topics could be created.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        BrokerFault: no answer within `seconds`, or one that will not serve us.
    """

    async def question(ask: SendRequest) -> list[str] | None:
        try:
            return [
                *await _missing_on_topics(ask, needs, to_create=to_create),
                *await _missing_on_group(ask, needs.group_id),
                *await _missing_on_transactions(ask, needs),
            ]
        except (IncompatibleBrokerVersion, NotImplementedError):
            return None

    return await asked(broker, question, seconds=seconds)


async def ensure_rights(broker: Broker, needs: Needs, *, seconds: float) -> None:
    """Refuse to start without a right that would be missed only after documents were paid for.

    This is the first contact with the broker. It waits for a broker that is away, but not for one that refuses us.

    Raises:
        BrokerFault: rights are missing.
    """
    await first_contact(broker)
    try:
        missing = await missing_rights(broker, needs, seconds=seconds)
    except Unreachable as unreachable:
        log.warning("rights.unknown", problem=str(unreachable))
        return
    if missing:
        raise BrokerFault(f"the broker does not allow what is needed; grant {'; '.join(missing)}")


async def _missing_on_topics(ask: SendRequest, needs: Needs, *, to_create: bool) -> list[str]:
    wanted: dict[tuple[str, str], tuple[int, str]] = {(needs.input_topic, "DOCSLUICE_INPUT_TOPIC"): (_READ, "READ")}
    wanted |= dict.fromkeys(needs.writes().items(), (_WRITE, "WRITE"))
    names = list(dict.fromkeys(topic for topic, _ in wanted))
    response = await ask(TopicOperationsRequest(names))
    found = {name: (code, allowed) for code, name, *_, allowed in response.topics}
    missing = []
    for (topic, setting), (operation, name) in wanted.items():
        code, allowed = found[topic]
        if code == _NO_TOPIC_RIGHT or (code == 0 and _lacks(allowed, operation)):
            missing.append(f"{name} on topic {topic} ({setting})")
    unknown = [topic for topic in names if found[topic][0] == _UNKNOWN_TOPIC] if to_create else []
    return [*missing, *await _missing_to_create(ask, unknown)]


async def _missing_to_create(ask: SendRequest, topics: Sequence[str]) -> list[str]:
    """Ask the broker whether it would create the topics, without creating them."""
    if not topics:
        return []
    wanted: list[tuple[Any, ...]] = [(topic, -1, -1, [], []) for topic in topics]
    request = CreateTopicsRequest(wanted, _CREATE_TIMEOUT_MS, validate_only=True)
    response = await ask(request)
    refused = {topic: code for topic, code, *_ in response.topic_errors if code}
    return [
        f"CREATE on topic {topic}, which is not there"
        if code in {_NO_TOPIC_RIGHT, _NO_CLUSTER_RIGHT}
        else f"topic {topic}, which is not there and cannot be created ({for_code(code).__name__})"
        for topic, code in refused.items()
    ]


async def _missing_on_group(ask: SendRequest, group_id: str) -> list[str]:
    # A broker checks rights on a group before it looks for the coordinator, so any broker will do.
    response = await ask(GroupOperationsRequest([group_id]))
    (code, *_, allowed), *_rest = response.groups
    if code == _NO_GROUP_RIGHT or (code == 0 and _lacks(allowed, _READ)):
        return [f"READ on group {group_id} (DOCSLUICE_GROUP_ID)"]
    return []


async def _missing_on_transactions(ask: SendRequest, needs: Needs) -> list[str]:
    """Ask to add to a transaction without a producer. The broker checks rights first, then finds no such producer."""
    missing = []
    for transactional_id in needs.transactional_ids:
        request = AddPartitionsToTxnRequest(transactional_id, -1, -1, [(needs.result_topic, [0])])
        response = await ask(request)
        codes = {code for _, partitions in response.errors for _, code in partitions}
        if _NO_TRANSACTION_RIGHT in codes:
            prefix = f"{needs.group_id}/"
            missing.append(f"WRITE on transactional ids that begin with {prefix} (DOCSLUICE_DELIVERY=exactly_once)")
    return list(dict.fromkeys(missing))


def _lacks(allowed: int, operation: int) -> bool:
    return allowed != _NOT_TOLD and not allowed & (1 << operation)
