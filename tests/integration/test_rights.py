"""A broker that knows us, and does not allow everything."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from docsluice_consumer.check.check import check
from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.settings import Settings
from docsluice_local.kafka import why_not
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests import required
from tests.integration import acl_broker as acl
from tests.integration.acl_broker import AclBroker
from tests.integration.wire import Wire, document, serving, stopped_by_itself

pytestmark = [
    pytest.mark.kafka,
    # A TLS connection ends with the other side's goodbye, and a busy broker that has refused us says it after the test.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

UNNAMED = {"kafka_sasl_username": None, "kafka_sasl_password": None}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What is left of a connection goes while this module's filters are in force."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AclBroker]:
    reason = why_not() or (None if shutil.which("openssl") else "no openssl to make a certificate with")
    if reason:
        (pytest.fail if required.KAFKA else pytest.skip)(reason)
    with acl.acl_broker(tmp_path_factory.mktemp("guarded")) as broker:
        yield broker


def _settings(guarded: AclBroker, wire: Wire, base_url: str, **changed: Any) -> Settings:
    return wire.settings(base_url, **(guarded.settings() | {"mode": "fused"} | changed))


async def _line(settings: Settings, what: str) -> str:
    lines: list[str] = []
    await check(settings, say=lines.append, deep=True)
    return next(line for line in lines if what in line)


@pytest.mark.parametrize("topics_are_there", [True, False])
async def test_each_missing_right_is_named(
    guarded: AclBroker, provider: RehearsalProvider, *, topics_are_there: bool
) -> None:
    """By what must be granted on what, with the setting, and nothing is named once it is granted."""
    wire = Wire(bootstrap_servers=guarded.clear)
    if topics_are_there:
        await wire.create_topics()
    settings = _settings(guarded, wire, provider.base_url, delivery="exactly_once")
    wanted = {
        f"READ on topic {wire.topics['input']} (DOCSLUICE_INPUT_TOPIC)": (acl.TOPIC, acl.READ),
        f"WRITE on topic {wire.topics['result']} (DOCSLUICE_RESULT_TOPIC)": (acl.TOPIC, acl.WRITE),
        f"WRITE on topic {wire.topics['dead_letter']} (DOCSLUICE_DEAD_LETTER_TOPIC)": (acl.TOPIC, acl.WRITE),
        f"READ on group {wire.name}.group (DOCSLUICE_GROUP_ID)": (acl.GROUP, acl.READ),
        f"WRITE on transactional ids that begin with {wire.name}.group/": (acl.TRANSACTIONAL_ID, acl.WRITE),
    }
    line = await _line(settings, "rights on the broker")
    assert line.startswith("FAILED ")
    for sentence in wanted:
        assert sentence in line
    for right in wanted.values():
        await guarded.grant(right[0], wire.name, right[1])
    line = await _line(settings, "rights on the broker")
    if topics_are_there:
        assert line == "ok       rights on the broker: all that are needed are there"
    else:
        assert f"CREATE on topic {wire.topics['input']}, which is not there" in line


async def test_a_start_without_a_right_ends_before_a_document_is_paid_for(
    guarded: AclBroker, provider: RehearsalProvider
) -> None:
    """The right to publish would be missed only when the first answer is there."""
    wire = Wire(bootstrap_servers=guarded.clear)
    await wire.create_topics()
    await wire.produce([document("a")])
    await guarded.grant(acl.TOPIC, wire.topics["input"], acl.READ)
    await guarded.grant(acl.GROUP, wire.name, acl.READ)
    with pytest.raises(BrokerFault, match=rf"grant WRITE on topic {wire.topics['result']} \(DOCSLUICE_RESULT_TOPIC\)"):
        async with serving(_settings(guarded, wire, provider.base_url, delivery="at_least_once")):
            pass
    assert len(provider.calls) == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kafka_sasl_password": "wrong"}, "DOCSLUICE_KAFKA_SASL_USERNAME, _SASL_PASSWORD"),
        ({"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "DOCSLUICE_KAFKA_SASL_MECHANISM"),
        ({"kafka_ssl_cafile": ""}, "DOCSLUICE_KAFKA_SSL_CAFILE"),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ssl_cafile": ""},
            "set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to SASL_SSL",
        ),
        ({"kafka_security_protocol": "SSL"} | UNNAMED, "set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to SASL_SSL"),
    ],
)
async def test_a_start_that_is_refused_ends(
    guarded: AclBroker, provider: RehearsalProvider, changed: dict[str, Any], words: str
) -> None:
    """It does not pass by waiting, so the setting is named. The password is not."""
    wire = Wire(bootstrap_servers=guarded.clear)
    with pytest.raises(BrokerFault, match=words) as raised:
        async with serving(_settings(guarded, wire, provider.base_url, **changed)):
            pass
    assert acl.PASSWORD not in str(raised.value)


async def test_tls_where_the_broker_speaks_none(guarded: AclBroker, provider: RehearsalProvider) -> None:
    """The other way round: the broker takes the handshake for a request of some gigabytes, and hangs up."""
    wire = Wire(bootstrap_servers=guarded.clear)
    changed = {"kafka_bootstrap_servers": guarded.clear, "kafka_security_protocol": "SSL"} | UNNAMED
    settings = _settings(guarded, wire, provider.base_url, **changed)
    with pytest.raises(BrokerFault, match="speaks no TLS; set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to PLAINTEXT"):
        async with serving(settings):
            pass


async def test_a_right_that_is_taken_away_stops_the_service(guarded: AclBroker, provider: RehearsalProvider) -> None:
    """It reads no more, so it says which right is missing and ends."""
    wire = Wire(bootstrap_servers=guarded.clear)
    await wire.create_topics()
    await guarded.grant_all(wire.name)
    await wire.produce([document("a")])

    async def served() -> None:
        async with serving(_settings(guarded, wire, provider.base_url)) as service:
            await wire.outcomes(1)
            await guarded.take_away(acl.TOPIC, wire.name, acl.READ)
            await stopped_by_itself(service)

    with pytest.raises(BrokerFault, match="grant READ on the input"):
        await served()


async def test_the_last_records_are_looked_at(guarded: AclBroker, provider: RehearsalProvider) -> None:
    """Records of another kind show before they are dead letters. What they hold is not shown."""
    wire = Wire(bootstrap_servers=guarded.clear)
    await wire.create_topics(partitions=3)
    await guarded.grant_all(wire.name)
    settings = _settings(guarded, wire, provider.base_url)
    what = f"input {wire.topics['input']} (DOCSLUICE_INPUT_TOPIC)"
    assert await _line(settings, what) == f"ok       {what}: it holds no records yet"
    await wire.produce(document(f"d{number}") for number in range(9))
    assert await _line(settings, what) == f"ok       {what}: its last records are document events (5 looked at)"
    odd = document("odd")
    await wire.produce(type(odd)(value=b'{"id": "secret-name"}', key=b"k") for _ in range(5))
    line = await _line(settings, what)
    assert line.startswith(f"DOUBTFUL {what}: of its last records, 5 of 5 are no document events: ")
    assert "secret-name" not in line
