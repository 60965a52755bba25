"""Apache Kafka with rights: a listener in the clear that may do all, and one with TLS for a user who may little."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from docsluice_local.broker import Broker
from docsluice_local.kafka import apache_kafka
from docsluice_local.process import free_port
from tests.integration.certificates import self_signed

PASSWORD = "correct-horse"
TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID = 2, 3, 4, 5
READ, WRITE, CREATE = 3, 4, 5
_PREFIXED, _ALLOW = 4, 3
_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@dataclass(frozen=True, kw_only=True)
class AclBroker:
    """`clear` is for the test itself, `secure` for the user `me`, who may do what was granted."""

    broker: Broker
    clear: str
    secure: str
    certificate: Path
    folder: Path

    def settings(self, **changed: str) -> dict[str, Any]:
        """The settings of a consumer that is `me`, with some of them changed."""
        return {
            "kafka_bootstrap_servers": self.secure,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": "me",
            "kafka_sasl_password": PASSWORD,
            "kafka_ssl_cafile": str(self.certificate),
            **changed,
        }

    async def grant(self, resource: int, prefix: str, operation: int) -> None:
        """Allow `me` an operation on all resources whose names begin so."""
        await self._ask(CreateAclsRequest, resource, prefix, operation)

    async def take_away(self, resource: int, prefix: str, operation: int) -> None:
        """Take back what was granted."""
        await self._ask(DeleteAclsRequest, resource, prefix, operation)

    async def grant_all(self, prefix: str) -> None:
        """All that a consumer needs on topics and a group that begin so."""
        for resource, operation in ((TOPIC, READ), (TOPIC, WRITE), (GROUP, READ), (TRANSACTIONAL_ID, WRITE)):
            await self.grant(resource, prefix, operation)

    async def _ask(self, request: Any, resource: int, prefix: str, operation: int) -> None:
        client = AIOKafkaClient(bootstrap_servers=self.clear)
        await client.bootstrap()
        try:
            acl = request(resource, prefix, _PREFIXED, "User:me", "*", operation, _ALLOW)
            answer = await client.send(client.get_random_node(), acl)
        finally:
            await client.close()
        (results,) = (value for value in answer.to_object().values() if isinstance(value, list))
        assert not any(result["error_code"] for result in results), answer


@contextlib.contextmanager
def acl_broker(folder: Path) -> Iterator[AclBroker]:
    """Run it, with its data in `folder`."""
    certificate, store = self_signed(folder)
    clear, controller, secure = (free_port() for _ in range(3))
    listener = "listener.name.secure."
    properties = {
        "listeners": (f"PLAINTEXT://127.0.0.1:{clear},CONTROLLER://127.0.0.1:{controller},SECURE://127.0.0.1:{secure}"),
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{clear},SECURE://localhost:{secure}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        listener + "ssl.keystore.type": "PEM",
        listener + "ssl.keystore.location": str(store),
        listener + "sasl.enabled.mechanisms": "PLAIN",
        listener + "plain.sasl.jaas.config": f'{_LOGIN} required user_me="{PASSWORD}";',
    }
    with apache_kafka(data_dir=folder / "broker", port=clear, server_properties=properties) as broker:
        yield AclBroker(
            broker=broker,
            clear=f"127.0.0.1:{clear}",
            secure=f"localhost:{secure}",
            certificate=certificate,
            folder=folder,
        )
