"""`docsluice-producer` against listeners that are not in the clear, or not where they say."""

from __future__ import annotations

import pytest

from tests.integration.guarded_broker import PASSWORD, Guarded
from tests.integration.producer_process import run
from tests.integration.wire import Wire

pytestmark = pytest.mark.kafka

DOCUMENT = b'{"document_id": "a", "text": "t"}\n'


async def test_documents_go_through_tls_and_sasl(guarded: Guarded) -> None:
    """With the right certificate, user and password, making a topic, sending and following all work."""
    wire = Wire(bootstrap_servers=guarded.clear)
    topics = ["--bootstrap-servers", guarded.secure]
    arguments = ["send", "-", "--topic", wire.topics["input"], "--create-topic", *topics]
    code, _, err = await run(*arguments, stdin=DOCUMENT, environment=guarded.settings())
    assert (code, err) == (0, f"made the topic {wire.topics['input']} with 6 partitions\n")
    assert await wire.count("input") == 1
    follow = ["follow", "--result-topic", wire.topics["input"], "--from-beginning", "--timeout-seconds", "3", *topics]
    code, out, err = await run(*follow, environment=guarded.settings())
    assert code == 0
    assert "1 unreadable record" in out


UNNAMED = {"SASL_USERNAME": "", "SASL_PASSWORD": ""}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"SASL_PASSWORD": "wrong"}, "refuses us: the broker does not accept the SASL user name or password"),
        ({"SASL_MECHANISM": "SCRAM-SHA-256"}, "refuses us: the broker does not know DOCSLUICE_KAFKA_SASL_MECHANISM"),
        ({"SSL_CAFILE": ""}, "refuses us: its certificate is not trusted"),
        ({"SECURITY_PROTOCOL": "PLAINTEXT", "SSL_CAFILE": ""} | UNNAMED, "is DOCSLUICE_KAFKA_SECURITY_PROTOCOL="),
        ({"SECURITY_PROTOCOL": "SSL"} | UNNAMED, "is DOCSLUICE_KAFKA_SECURITY_PROTOCOL="),
    ],
)
async def test_what_keeps_us_out_is_named(guarded: Guarded, changed: dict[str, str], line: str) -> None:
    """Each wrong setting ends with exit code 1 and one line that tells it from the others, and no password."""
    arguments = ["send", "-", "--wait-seconds", "0", "--bootstrap-servers", guarded.secure]
    code, _, err = await run(*arguments, stdin=DOCUMENT, environment=guarded.settings(**changed))
    assert code == 1
    (said,) = err.splitlines()
    assert line in said
    assert PASSWORD not in said


async def test_an_advertised_address_that_leads_nowhere_is_named_as_such(guarded: Guarded) -> None:
    """A broker that answers and sends its clients to another name is not said to be away."""
    for command in (["send", "-"], ["follow"]):
        arguments = [*command, "--wait-seconds", "0", "--bootstrap-servers", guarded.elsewhere]
        code, _, err = await run(*arguments, stdin=DOCUMENT)
        assert code == 1
        assert f"{guarded.elsewhere} answers, but the address that it advertises" in err
