"""`docsluice try`: a pipeline on a few documents, against a server that does what each test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.integration.model_server import Server, completion_of
from tests.integration.wire import Record, Wire

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
CATEGORY = {"name": "category", "prompt": "Sort it.", "output": {"type": "choice", "labels": ["billing", "bug"]}}
WORDS = {"name": "words", "prompt": "Name two words.", "output": {"type": "list", "items": 2}}
GOOD: dict[str, Any] = {"category": "billing", "words": ["paid", "twice"]}


@pytest.fixture
def tried(ran: Callable[..., Any]) -> Callable[..., Any]:
    """Runs the command against a server. See `ran`."""
    return lambda server, *arguments: ran(server, "try", *arguments)


def _pipeline(*tasks: dict[str, Any], **fields: Any) -> str:
    Path("pipeline.yaml").write_text(yaml.safe_dump({"name": "p", "tasks": list(tasks), **fields}), encoding="utf-8")
    return "pipeline.yaml"


def _asked_for(body: dict[str, Any]) -> dict[str, Any]:
    """Right answers to what the body asks for."""
    wanted = body["response_format"]["json_schema"]["schema"]["properties"]
    return {name: GOOD[name] for name in wanted}


def _well(body: dict[str, Any]) -> web.Response:
    return web.json_response(completion_of(json.dumps(_asked_for(body)), usage=USAGE))


async def test_what_is_sent_and_answered_is_shown(tried: Callable[..., Any]) -> None:
    """The turns as the server got them, the raw answer, what was read of it, and what it took."""
    async with Server(_well).running() as server:
        code, out, _ = await tried(server, _pipeline(CATEGORY), "--text", "I paid twice.")
    (body,) = server.bodies
    flat = " ".join(out.split())
    assert code == 0
    assert all(" ".join(turn["content"].split()) in flat for turn in body["messages"])
    assert '{"category": "billing"}' in out
    assert "\ncategory    billing\n" in out
    assert "100 tokens in and 10 out" in out


async def test_a_call_is_shown_as_it_was_sent_last(tried: Callable[..., Any]) -> None:
    """A server that knows no schema is asked again without it, and the schema is spelt out."""

    def answer(body: dict[str, Any]) -> web.Response:
        if body.get("response_format", {}).get("type") != "json_schema":
            return web.json_response(completion_of('{"category": "bug"}', usage=USAGE))
        error = {"message": "Unsupported parameter: response_format.json_schema", "param": "response_format"}
        return web.json_response({"error": error}, status=400)

    async with Server(answer).running() as server:
        code, out, _ = await tried(server, _pipeline(CATEGORY), "--text", "It crashes.", "--json")
        (call,) = json.loads(out)["calls"]
        last = server.bodies[-1]
        assert (code, call["requests"], len(server.bodies) > 1) == (0, len(server.bodies), True)
        assert call["messages"] == last.pop("messages")
        assert {"model": call["model"], **call["parameters"]} == last
        _, out, _ = await tried(server, "pipeline.yaml", "--text", "It crashes.", "--fresh")
    assert "times before, with what the server does not know)" in out


async def test_nothing_that_was_answered_is_asked_again(tried: Callable[..., Any]) -> None:
    """After a change of one task, only that task is asked. With --fresh, everything is."""
    async with Server(_well).running() as server:
        await tried(server, _pipeline(CATEGORY, WORDS), "--text", "I paid twice.")
        assert len(server.bodies) == 2
        _, out, _ = await tried(
            server, _pipeline(CATEGORY, WORDS | {"prompt": "Name others."}), "--text", "I paid twice."
        )
        assert server.bodies[2]["messages"][0]["content"].startswith("Name others.")
        assert (len(server.bodies), out.count("taken from the store")) == (3, 1)
        await tried(server, "pipeline.yaml", "--text", "I paid twice.", "--fresh")
        assert len(server.bodies) == 5


async def test_a_repair_is_shown(tried: Callable[..., Any]) -> None:
    """With the answer that was wrong, and what the model was told of it."""
    said = iter(['{"category": "other"}', '{"category": "bug"}'])

    def answer(_body: dict[str, Any]) -> web.Response:
        return web.json_response(completion_of(next(said), usage=USAGE))

    async with Server(answer).running() as server:
        code, out, _ = await tried(server, _pipeline(CATEGORY), "--text", "It crashes.")
    assert code == 0
    assert "category ─► gpt-4o-mini, a repair" in out
    assert "(2 turns as above)" in out
    assert out.index('{"category": "other"}') < out.index('{"category": "bug"}')
    assert "\ncategory    bug\n" in out


async def test_models_and_modes_stand_side_by_side(tried: Callable[..., Any]) -> None:
    """Each model takes the place of those of the tasks."""
    async with Server(_well).running() as server:
        task = CATEGORY | {"model": "its-own"}
        flags = ("--model", "small", "--model", "large", "--mode", "fanout,fused", "--json")
        code, out, _ = await tried(server, _pipeline(task, WORDS), "--text", "I paid twice.", *flags)
        found = [json.loads(line) for line in out.splitlines()]
        assert [(one["models"], one["mode"], len(one["calls"])) for one in found] == [
            (["small"], "fanout", 2),
            (["small"], "fused", 1),
            (["large"], "fanout", 2),
            (["large"], "fused", 1),
        ]
        assert all(one["outputs"] == GOOD for one in found)
        assert {body["model"] for body in server.bodies} == {"small", "large"}
        code, out, _ = await tried(server, "pipeline.yaml", "--text", "I paid twice.", *flags[:-1])
        assert (code, len(server.bodies)) == (0, 6)
    assert all(name in out for name in ("small, fanout", "large, fused", "from the store"))


async def test_a_mapping_reads_lines_as_they_are(tried: Callable[..., Any]) -> None:
    """One is a result, one is passed over, one a dead letter. The exit code tells of the last."""
    file = _pipeline(CATEGORY, input={"document_id": "id", "text": "body", "when": "open"})
    lines = [{"id": 7, "body": "I paid.", "open": True}, {"id": 8, "body": "x", "open": False}, {"id": 9, "open": True}]
    Path("tickets.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    async with Server(_well).running() as server:
        code, out, _ = await tried(server, file, "tickets.jsonl", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [one["outcome"] for one in found] == ["result", "skipped", "dead_letter"]
    assert (found[0]["document_id"], found[2]["reason"]) == ("7", "invalid_event")
    assert len(server.bodies) == 1


async def test_the_end_of_a_topic_is_tried(tried: Callable[..., Any], wire: Wire) -> None:
    """Its newest records, whatever their partition. Nothing is published, and no group is joined."""
    await wire.create_topics(partitions=2)
    events = [{"document_id": f"d{number}", "text": f"Text {number}."} for number in range(6)]
    for event in events:
        key, value = event["document_id"].encode(), json.dumps(event).encode()
        await wire.produce([Record(value=value, key=key)])
    async with Server(_well).running() as server:
        at = ("--topic", wire.topics["input"], "--kafka-bootstrap-servers", wire.bootstrap_servers)
        code, out, _ = await tried(server, _pipeline(CATEGORY), *at, "-n", "3", "--json")
        assert code == 0
        assert [json.loads(line)["document_id"] for line in out.splitlines()] == ["d3", "d4", "d5"]
        code, _, err = await tried(server, "pipeline.yaml", *at[:1], "nowhere", *at[2:])
    assert (code, "nowhere is empty or missing" in err) == (2, True)


async def test_files_are_read_as_send_reads_them(tried: Callable[..., Any]) -> None:
    """What cannot be read is named, and the others are tried."""
    Path("a.csv").write_text("document_id,text\n1,One.\n2,\n3,Three.\n", encoding="utf-8")
    async with Server(_well).running() as server:
        code, out, err = await tried(server, _pipeline(CATEGORY), "a.csv", "--json")
        assert [json.loads(line)["document_id"] for line in out.splitlines()] == ["1", "3"]
        assert (code, "a.csv:3" in err) == (0, True)
        code, _, err = await tried(server, "pipeline.yaml", "b.csv")
    assert (code, err) == (2, "docsluice: b.csv: no such file or folder\n")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "OPENAI_API_KEY"), (404, "gpt-4o-mini"), (500, "500")], ids=["key", "model", "down"]
)
async def test_a_provider_that_refuses_ends_it(tried: Callable[..., Any], status: int, words: str) -> None:
    """In a line, soon, and not as the document's fault."""

    def answer(_body: dict[str, Any]) -> web.Response:
        message = {401: "Incorrect API key provided", 404: "The model gpt-4o-mini does not exist"}.get(status, "oh")
        return web.json_response({"error": {"message": message, "code": "x"}}, status=status)

    async with Server(answer).running() as server:
        code, out, err = await tried(server, _pipeline(CATEGORY), "--text", "I paid twice.")
    assert (code, out) == (1, "")
    assert words in err.splitlines()[-1]
    assert len(server.bodies) <= 8


async def test_an_answer_cannot_steer_the_terminal(tried: Callable[..., Any]) -> None:
    """Nor can a document."""
    text = {"name": "words", "prompt": "\N{ESCAPE}[2J", "output": {"type": "text"}}

    def answer(_body: dict[str, Any]) -> web.Response:
        return web.json_response(completion_of(json.dumps({"words": "a\N{ESCAPE}[31mb\a"}), usage=USAGE))

    async with Server(answer).running() as server:
        code, out, _ = await tried(server, _pipeline(text), "--text", "c\N{ESCAPE}[31md")
    assert code == 0
    assert not {"\N{ESCAPE}", "\a"} & set(out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name files, or --text, or --topic"),
        (("a.txt", "--text", "b"), "name files, or --text, or --topic"),
        (("--text", " "), "--text: it is blank"),
        (("--text", "a", "-n", "0"), "-n: 0 is no number of documents"),
        (("--text", "a", "--mode", "both"), "--mode: both is none; there are fanout and fused"),
        (("--text", "a", "--watch"), "--watch needs a pipeline file"),
    ],
)
async def test_wrong_usage_is_told(tried: Callable[..., Any], arguments: tuple[str, ...], words: str) -> None:
    """In one line, before anything is asked."""
    async with Server(_well).running() as server:
        code, out, err = await tried(server, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert words in err
    assert server.bodies == []


async def test_it_begins_again_when_the_file_is_saved(
    tried: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a mistake in the file, which is told. Ctrl-C ends it."""
    saved = [WORDS, CATEGORY | {"promt": "x"}]

    def sleep(_seconds: float) -> None:
        if not saved:
            raise KeyboardInterrupt
        _pipeline(saved.pop())

    monkeypatch.setattr("docsluice_consumer.commands.pipeline_commands.time.sleep", sleep)
    async with Server(_well).running() as server:
        code, out, err = await tried(server, _pipeline(CATEGORY), "--text", "I paid twice.", "--watch")
    assert code != 0
    assert "pipeline.yaml:" in err
    assert "did you mean prompt?" in err
    assert ("\ncategory    billing\n" in out, "\nwords       paid, twice\n" in out) == (True, True)
    assert len(server.bodies) == 2
