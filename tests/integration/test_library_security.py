"""The library on a broker that wants TLS and a password."""

from __future__ import annotations

import pytest

import docsluice
from docsluice.client.connection import Connection
from docsluice.errors import BrokerRefused
from tests.integration.guarded_broker import PASSWORD, Guarded
from tests.integration.wire import Wire

pytestmark = pytest.mark.kafka


def _connection(guarded: Guarded, password: str = PASSWORD) -> Connection:
    return {
        "bootstrap_servers": guarded.secure,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "me",
        "sasl_password": password,
        "ssl_cafile": str(guarded.certificate),
        "wait_seconds": 10,
    }


async def test_arguments_or_the_environment_lead_there(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as the programs' settings."""
    wire = Wire(bootstrap_servers=guarded.clear)
    await wire.create_topics()
    topic = wire.topics["input"]
    async with docsluice.DocumentProducer(topic=topic, **_connection(guarded)) as producer:
        await producer.send(document_id="a", text="T")
    for name, value in guarded.settings().items():
        monkeypatch.setenv(name, value)
    async with docsluice.DocumentProducer(topic=topic, bootstrap_servers=guarded.secure) as producer:
        assert (await producer.send(document_id="b", text="T")).offset == 1


@pytest.mark.parametrize("group_id", [None, "readers"])
async def test_a_wrong_password_is_told_and_not_shown(guarded: Guarded, group_id: str | None) -> None:
    """At once, in one line."""
    subscription = docsluice.results(group_id=group_id, **_connection(guarded, "wrong-horse"))
    with pytest.raises(BrokerRefused, match="does not accept the SASL user name or password") as caught:
        async with subscription:
            pass
    assert "wrong-horse" not in str(caught.value)
    assert "\n" not in str(caught.value)
