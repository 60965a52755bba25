"""`docsluice plan`: what all documents will take, against what they then took."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.integration.model_server import Server, completion_of
from tests.integration.wire import Record, Wire

TASKS = [
    {"name": "kind", "prompt": "Which?", "output": {"type": "choice", "labels": ["a", "b"]}},
    {"name": "gist", "prompt": "In a sentence?", "output": {"type": "text"}},
]
COUNT = 60


def _answer(body: dict[str, Any]) -> web.Response:
    """Tokens that depend on the document, as a provider counts them."""
    document = body["messages"][-1]["content"]
    wanted = body["response_format"]["json_schema"]["schema"]["properties"]
    said = json.dumps({"kind": "a"} if "kind" in wanted else {"gist": document[: 10 + len(document) % 50]})
    tokens = {"prompt_tokens": 20 + len(document) // 4, "completion_tokens": len(said) // 4}
    return web.json_response(completion_of(said, usage={**tokens, "total_tokens": sum(tokens.values())}))


@pytest.fixture
def ran(ran: Callable[..., Any]) -> Callable[..., Any]:
    """The fixture of this name, with a pipeline and documents in the folder."""
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "tasks": TASKS}), encoding="utf-8")
    dice = random.Random(1)
    rows = [{"document_id": f"d{n}", "text": f"{n} " + "word " * dice.randint(5, 400)} for n in range(COUNT)]
    Path("all.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return ran


@pytest.mark.parametrize("mode", ["fanout"])
async def test_what_was_planned_is_what_it_takes(ran: Callable[..., Any], mode: str) -> None:
    """Calls, tokens and dollars of all documents, from a quarter of them."""
    async with Server(_answer).running() as server:
        _, out, _ = await ran(server, "plan", "p.yaml", "all.jsonl", "--live", "--sample", "15", "--fresh", "--json")
        assert len(server.bodies) == 2 * 15
        planned = json.loads(out)
        _, out, _ = await ran(server, "try", "p.yaml", "all.jsonl", "-n", str(COUNT), "--mode", mode, "--json")
    took = [json.loads(line) for line in out.splitlines()]
    calls = [call for one in took for call in one["calls"]]
    assert (planned["documents"], planned["calls"]) == (COUNT, len(calls))
    assert planned["input_tokens"]["value"] == pytest.approx(sum(call["input_tokens"] for call in calls), rel=0.02)
    spent = sum(call["output_tokens"] for call in calls)
    assert planned["output_tokens"]["low"] <= spent <= planned["output_tokens"]["high"]
    assert planned["usd"]["value"] == pytest.approx(sum(float(one["cost_usd"]) for one in took), rel=0.1)


async def test_what_was_answered_before_costs_nothing(ran: Callable[..., Any]) -> None:
    """The store tells, and it is the service's."""
    async with Server(_answer).running() as server:
        await ran(server, "try", "p.yaml", "all.jsonl", "-n", str(COUNT))
        asked = len(server.bodies)
        code, out, _ = await ran(server, "plan", "p.yaml", "all.jsonl", "--live", "--json")
        assert (code, len(server.bodies)) == (0, asked)
    planned = json.loads(out)
    assert (planned["stored_share"], planned["calls"], planned["usd"]["value"]) == (1, 0, 0)


async def test_without_live_nothing_is_asked(ran: Callable[..., Any]) -> None:
    """And what is not known is said."""
    async with Server(_answer).running() as server:
        code, out, _ = await ran(server, "plan", "p.yaml", "all.jsonl", "--mode", "fanout,fused")
        assert (code, server.bodies) == (0, [])
        assert out.count("unknown") == 4
        assert out.count("and the answers") == 2
        _, out, _ = await ran(server, "plan", "p.yaml", "all.jsonl", "--requests-per-minute", "60", "--json")
    assert json.loads(out)["seconds"] == pytest.approx(2 * COUNT, rel=0.01)


async def test_a_topic_is_planned_from_its_end(ran: Callable[..., Any], wire: Wire) -> None:
    """By the number of its records, and the newest of them."""
    await wire.create_topics(partitions=2)
    lines = Path("all.jsonl").read_bytes().splitlines()
    await wire.produce([Record(value=line, key=b"k%d" % number) for number, line in enumerate(lines)])
    async with Server(_answer).running() as server:
        at = ("--topic", wire.topics["input"], "--kafka-bootstrap-servers", wire.bootstrap_servers)
        code, out, _ = await ran(server, "plan", "p.yaml", *at, "--live", "--sample", "5", "--json")
    assert (code, json.loads(out)["documents"]) == (0, COUNT)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name files, or --topic"),
        (("all.jsonl", "--topic", "t"), "name files, or --topic"),
        (("b.csv",), "no such"),
    ],
)
async def test_wrong_usage_is_told(ran: Callable[..., Any], arguments: tuple[str, ...], words: str) -> None:
    """In a line."""
    async with Server(_answer).running() as server:
        code, out, err = await ran(server, "plan", "p.yaml", *arguments)
    assert (code, out, words in err) == (2, "", True)
