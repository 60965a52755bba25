"""Each launcher starts what it says, serves, and leaves no process behind."""

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError

from docsluice_local.broker import Broker, embedded_broker
from docsluice_local.kafka import apache_kafka, why_not
from docsluice_local.kafka_docker import environment, opened
from docsluice_local.model import local_model
from docsluice_local.process import accepts_connections, child_process, free_port
from docsluice_local.rehearsal.provider import rehearsal_process
from tests import required

_Launch = Callable[[Path], AbstractContextManager[Broker]]


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """After every test here, no child of ours runs on that did not before."""
    before = _children()
    yield
    assert _children() <= before


def _children() -> set[int]:
    """Our own child processes that run. One that has ended and was not waited for yet does not count."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may end while we look
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(stat.parent.name))
    return found


def _embedded(data_dir: Path) -> AbstractContextManager[Broker]:
    return embedded_broker(data_dir=data_dir)


def _apache(data_dir: Path) -> AbstractContextManager[Broker]:
    reason = why_not()
    if reason and required.KAFKA:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return apache_kafka(data_dir=data_dir, server_properties={"message.max.bytes": "3000000"})


_both_brokers = pytest.mark.parametrize("launch", [_embedded, pytest.param(_apache, marks=pytest.mark.kafka)])


@_both_brokers
async def test_a_broker_keeps_its_address_and_its_data(launch: _Launch, tmp_path: Path) -> None:
    """What was acknowledged is still there after a stop and a start."""
    with launch(tmp_path) as broker:
        address = broker.bootstrap_servers
        await _produce(address, count=100)
        broker.stop()
        assert not accepts_connections(port=_port(broker))
        broker.start()
        assert broker.bootstrap_servers == address
        assert await _end_offset(address) == 100
        assert broker.log_path.exists()
    assert not accepts_connections(port=_port(broker))


@_both_brokers
async def test_a_killed_broker_comes_back(launch: _Launch, tmp_path: Path) -> None:
    """It serves again after `kill -9`, from its own thread or another."""
    with launch(tmp_path) as broker:
        broker.kill()
        assert not accepts_connections(port=_port(broker))
        await asyncio.to_thread(broker.start)
        await _produce(broker.bootstrap_servers, count=1)


@pytest.mark.kafka
async def test_apache_kafka_takes_server_properties(tmp_path: Path) -> None:
    """A message over the default limit passes where the limit was raised."""
    with _apache(tmp_path) as broker:
        await _create_topic(broker.bootstrap_servers)
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, max_request_size=5_000_000) as producer:
            await producer.send_and_wait("documents", b"x" * 2_500_000)
            with pytest.raises(MessageSizeTooLargeError):
                await producer.send_and_wait("documents", b"x" * 3_500_000)


def test_server_properties_become_environment_variables() -> None:
    """In the spelling that Kafka's image reads back."""
    properties = {"message.max.bytes": "1", "listener.name.in_side.some-thing": "2"}
    assert environment(properties) == {
        "KAFKA_MESSAGE_MAX_BYTES": "1",
        "KAFKA_LISTENER_NAME_IN__SIDE_SOME___THING": "2",
    }


def test_every_listener_but_the_controllers_is_open_to_the_host() -> None:
    """A broker in a container may have more than one door."""
    properties = {
        "controller.listener.names": "CONTROLLER",
        "listeners": "PLAINTEXT://127.0.0.1:1,PROXIED://127.0.0.1:2,CONTROLLER://127.0.0.1:3",
    }
    assert opened(properties) == ("PLAINTEXT://0.0.0.0:1,PROXIED://0.0.0.0:2,CONTROLLER://127.0.0.1:3", [1, 2])


@pytest.mark.parametrize("program", ["docsluice.cli broker", "docsluice_local.broker"])
def test_the_broker_runs_in_the_foreground(program: str, tmp_path: Path) -> None:
    """It says when it is ready, ends in order at SIGTERM, and can be started again where it was."""
    port = free_port()
    where = ["--port", str(port), "--data-dir", str(tmp_path / "data")]
    command = [sys.executable, "-m", *program.split(), *where]
    for time in ("first", "second"):
        log = tmp_path / time
        is_ready = functools.partial(_says_something, log)
        with child_process(name="broker", command=command, log_path=log, is_ready=is_ready) as child:
            assert log.read_text("utf-8") == f"ready 127.0.0.1:{port}\n"
            child.send_signal(signal.SIGTERM)
            assert child.wait() == 0
        assert not accepts_connections(port=port)


def _says_something(log: Path) -> bool:
    return log.stat().st_size > 0


async def test_the_rehearsal_provider_runs_as_a_process(tmp_path: Path) -> None:
    """With its settings from the command line, and a back door to its call log."""
    arguments = ["--model", "rehearsed", "--fault-rate", "503=1", "--api-key", "made-up"]
    with rehearsal_process(log_path=tmp_path / "log", arguments=arguments) as base_url:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="made-up", max_retries=0) as client:
            assert [model.id async for model in client.models.list()] == ["rehearsed"]
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(
                    model="rehearsed", messages=[{"role": "user", "content": "A document."}]
                )
        async with aiohttp.ClientSession() as session, session.get(f"{base_url[:-3]}/rehearsal/calls") as response:
            calls: list[dict[str, Any]] = (await response.json())["calls"]
    assert [(call["status"], call["fault"]) for call in calls] == [(503, "503")]


@pytest.mark.model
async def test_the_model_answers_in_the_schema_asked_for(tmp_path: Path) -> None:
    """A real answer of a real model, with its usage."""
    schema = {
        "type": "object",
        "properties": {"category": {"type": "string", "enum": ["tech", "health"]}},
        "required": ["category"],
        "additionalProperties": False,
    }
    with local_model(log_path=tmp_path / "log") as model:
        async with openai.AsyncOpenAI(base_url=model.base_url, api_key="none", max_retries=0) as client:
            completion = await client.chat.completions.create(
                model=model.name,
                messages=[{"role": "user", "content": "Classify: a compiler turns source code into machine code."}],
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "category", "strict": True, "schema": schema},
                },
                max_tokens=60,
                temperature=0,
            )
    assert json.loads(completion.choices[0].message.content or "")["category"] in {"tech", "health"}
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0


async def _create_topic(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("documents", num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _produce(address: str, *, count: int) -> None:
    await _create_topic(address)
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        for number in range(count):
            await producer.send("documents", str(number).encode())
        await producer.flush()


async def _end_offset(address: str) -> int:
    partition = TopicPartition("documents", 0)
    async with AIOKafkaConsumer(bootstrap_servers=address) as consumer:
        offsets: dict[TopicPartition, int] = await consumer.end_offsets([partition])
    return offsets[partition]


def _port(broker: Broker) -> int:
    return int(broker.bootstrap_servers.rpartition(":")[2])
