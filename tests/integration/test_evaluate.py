"""`docsluice evaluate`: answers beside the right ones, against a server that does what each test tells it to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.integration.model_server import Server, completion_of

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
KIND = {"name": "kind", "prompt": "Sort it.", "output": {"type": "choice", "labels": ["bug", "billing"]}}
WORDS = {"name": "words", "prompt": "Name two words.", "output": {"type": "list", "items": 2}}
EXPECT = ("--expect", "kind=label")


@pytest.fixture
def evaluated(ran: Callable[..., Any]) -> Callable[..., Any]:
    """Runs the command against a server. See `ran`."""
    return lambda server, *arguments: ran(server, "evaluate", *arguments)


def _pipeline(*tasks: dict[str, Any], **fields: Any) -> str:
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "tasks": list(tasks), **fields}), encoding="utf-8")
    return "p.yaml"


def _rows(count: int = 20, **fields: Any) -> list[dict[str, Any]]:
    """Every second one is a bug. Its text says its number and which it is."""
    return [
        {"document_id": f"d{n}", "text": f"Ticket {n} is about {_right(n)}.", "label": _right(n), **fields}
        for n in range(count)
    ]


def _right(number: int) -> str:
    return "bug" if number % 2 else "billing"


def _written(rows: list[dict[str, Any]], name: str = "rows.jsonl") -> str:
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return name


def _number(body: dict[str, Any]) -> int:
    (document,) = [turn["content"] for turn in body["messages"] if turn["content"].startswith("Ticket ")]
    return int(document.split()[1])


def _answering(wrong: Callable[[dict[str, Any]], bool] = lambda _: False) -> Callable[[dict[str, Any]], web.Response]:
    """A server that reads the label out of the text, and says the other one where it is to be wrong."""

    def answer(body: dict[str, Any]) -> web.Response:
        wanted = body["response_format"]["json_schema"]["schema"]["properties"]
        right = {"kind": _right(_number(body) + wrong(body)), "words": ["paid", "twice"]}
        return web.json_response(completion_of(json.dumps({name: right[name] for name in wanted}), usage=USAGE))

    return answer


async def test_the_numbers_are_those_of_scikit_learn(evaluated: Callable[..., Any]) -> None:
    """On the answers that the server gave. Each wrong one is named."""
    from sklearn.metrics import accuracy_score  # noqa: PLC0415 - it takes a second in each process that collects tests

    async with Server(_answering(lambda body: _number(body) % 5 == 0)).running() as server:
        code, out, err = await evaluated(server, _pipeline(KIND), _written(_rows()), *EXPECT, "--json")
    assert code == 0, err
    (variant,) = json.loads(out)["variants"]
    kind = variant["tasks"]["kind"]
    expected = [_right(n) for n in range(20)]
    found = [_right(n + (n % 5 == 0)) for n in range(20)]
    assert kind["score"]["value"] == accuracy_score(expected, found) == 0.8
    assert {one["document_id"] for one in kind["disagreements"]} == {"d0", "d5", "d10", "d15"}
    assert kind["score"]["low"] < 0.8 < kind["score"]["high"]
    assert (variant["documents"], variant["dead_letters"]) == (20, 0)
    assert variant["usd_per_thousand"] == pytest.approx(1000 * (100 * 0.15 + 10 * 0.6) / 1e6)


async def test_evaluating_again_costs_what_has_changed(evaluated: Callable[..., Any]) -> None:
    """The other task's answers come from the store, at the price that they had."""
    rows = [row | {"tags": ["paid", "late"]} for row in _rows(6)]
    flags = (*EXPECT, "--expect", "words=tags", "--json")
    async with Server(_answering()).running() as server:
        _, first, _ = await evaluated(server, _pipeline(KIND, WORDS), _written(rows), *flags)
        assert len(server.bodies) == 12
        changed = KIND | {"prompt": "Sort it well."}
        _, again, _ = await evaluated(server, _pipeline(changed, WORDS), "rows.jsonl", *flags)
        assert len(server.bodies) == 18
        _, last, _ = await evaluated(server, "p.yaml", "rows.jsonl", *flags)
        assert len(server.bodies) == 18
    first, again, last = (json.loads(out)["variants"][0] for out in (first, again, last))
    assert first["usd_per_thousand"] == again["usd_per_thousand"] == last["usd_per_thousand"] > 0
    assert (last["from_store"], last["seconds_p50"]) == (6, None)
    words = last["tasks"]["words"]
    assert words["measures"] == {"f1": 0.5, "precision": 0.5, "recall": 0.5}


async def test_a_worse_model_is_found_and_an_equal_one_is_not(evaluated: Callable[..., Any]) -> None:
    """Of three models, the cheapest that is good enough is named."""
    models = ("--model", "gpt-4.1", "--model", "gpt-4o-mini", "--model", "gpt-4.1-nano")
    spoilt = _answering(lambda body: body["model"] == "gpt-4.1-nano" and _number(body) % 4 == 0)
    async with Server(spoilt).running() as server:
        code, out, _ = await evaluated(
            server, _pipeline(KIND), _written(_rows(60)), *EXPECT, *models, "--report", "report.html"
        )
    said = " ".join(out.split())
    assert code == 0
    assert "kind: gpt-4.1 is 25.0 points better than gpt-4.1-nano; chance alone" in said
    assert "kind: gpt-4.1 and gpt-4o-mini are equally good" in said
    assert "Cheapest within 2 points of the best: gpt-4o-mini" in said
    assert "gpt-4.1-nano, kind: billing taken for bug 15 times" in said
    page = Path("report.html").read_text(encoding="utf-8")
    assert "15 of 60 documents with another answer" in page
    assert "<strong>gpt-4o-mini</strong>" in page
    assert "<script" not in page


async def test_a_worse_prompt_is_found_and_another_wording_is_not(evaluated: Callable[..., Any]) -> None:
    """Two pipeline files on the same documents. Only the one whose prompt misleads is told from the first."""
    misled = _answering(lambda body: "Guess." in json.dumps(body) and _number(body) % 4 == 0)
    for name, prompt in {"worse": "Guess.", "reworded": "Sort it, please."}.items():
        Path(f"{name}.yaml").write_text(
            yaml.safe_dump({"name": name, "tasks": [KIND | {"prompt": prompt}]}), encoding="utf-8"
        )
    others = ("--against", "worse.yaml", "--against", "reworded.yaml", "--json")
    async with Server(misled).running() as server:
        code, out, err = await evaluated(server, _pipeline(KIND), _written(_rows(60)), *EXPECT, *others)
    assert code == 0, err
    differences = {one["worse"]: one for one in json.loads(out)["differences"]}
    assert (differences["worse.yaml"]["points"], differences["worse.yaml"]["p"] < 0.001) == (0.25, True)
    assert (differences["reworded.yaml"]["points"], differences["reworded.yaml"]["p"]) == (0, 1)


async def test_all_are_judged_on_the_same_documents(evaluated: Callable[..., Any]) -> None:
    """Those that none of the files passes over."""
    mapping = {"document_id": "document_id", "text": "text"}
    for name, when in {"early": "n < `4`", "late": "n > `1`"}.items():
        fields = {"name": name, "tasks": [KIND], "input": {**mapping, "when": when}}
        Path(f"{name}.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    rows = [row | {"n": number} for number, row in enumerate(_rows(8))]
    async with Server(_answering()).running() as server:
        code, out, err = await evaluated(
            server, "early.yaml", _written(rows), *EXPECT, "--against", "late.yaml", "--json"
        )
    assert code == 0, err
    assert [one["documents"] for one in json.loads(out)["variants"]] == [2, 2]


async def test_another_file_must_have_the_task(evaluated: Callable[..., Any]) -> None:
    """Or there is nothing to compare."""
    Path("other.yaml").write_text(yaml.safe_dump({"name": "other", "tasks": [WORDS]}), encoding="utf-8")
    async with Server(_answering()).running() as server:
        code, _, err = await evaluated(server, _pipeline(KIND), _written(_rows(2)), *EXPECT, "--against", "other.yaml")
    assert (code, len(server.bodies)) == (2, 0)
    assert "--expect: there is no task kind" in err


async def test_nothing_in_a_document_is_part_of_the_page(evaluated: Callable[..., Any]) -> None:
    """Neither its id, nor how it begins, nor a label."""
    odd = "<script>alert(1)</script>"
    rows = [row | {"document_id": f"{odd}{n}", "text": f"{row['text']} {odd}"} for n, row in enumerate(_rows(4))]
    rows[0]["label"] = f"{odd}\x1b[2J"
    async with Server(_answering()).running() as server:
        code, out, err = await evaluated(server, _pipeline(KIND), _written(rows), *EXPECT, "--report", "report.html")
    assert code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "\x1b" not in page + out + err


@pytest.mark.parametrize(("least", "code"), [("accuracy=0.8", 0), ("accuracy=0.9", 1), ("kind=0.9", 1), ("kind=0", 0)])
async def test_a_minimum_gates_a_change(evaluated: Callable[..., Any], least: str, code: int) -> None:
    """By a measure, or by a task."""
    async with Server(_answering(lambda body: _number(body) % 5 == 0)).running() as server:
        found, _, err = await evaluated(server, _pipeline(KIND), _written(_rows()), *EXPECT, "--min", least)
    assert found == code
    assert ("accuracy 0.800 is below 0.9" in err) == bool(code)


async def test_a_dead_letter_is_a_wrong_answer(evaluated: Callable[..., Any]) -> None:
    """It is counted as one that failed for its answers."""

    def answer(body: dict[str, Any]) -> web.Response:
        return _answering()(body) if _number(body) else web.json_response(completion_of("no", usage=USAGE))

    async with Server(answer).running() as server:
        code, out, _ = await evaluated(server, _pipeline(KIND), _written(_rows(4)), *EXPECT, "--json")
    (variant,) = json.loads(out)["variants"]
    assert (code, variant["dead_letters"], variant["invalid_answers"]) == (0, 1, 1)
    assert variant["tasks"]["kind"]["score"]["value"] == 0.75
    assert variant["tasks"]["kind"]["disagreements"][0]["found"] is None


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
async def test_tables_of_any_kind_are_read(evaluated: Callable[..., Any], kind: str) -> None:
    """With columns of other names, and a list in one cell."""
    rows = [{"nr": n, "body": f"Ticket {n} is here.", "label": _right(n), "tags": "paid; twice"} for n in range(4)]
    name = f"rows.{kind}"
    if kind == "csv":
        table = io.StringIO()
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        Path(name).write_text(table.getvalue(), encoding="utf-8")
    elif kind == "json":
        Path(name).write_text(json.dumps(rows), encoding="utf-8")
    else:
        import pyarrow as pa  # noqa: PLC0415 - one case needs it
        from pyarrow import parquet  # noqa: PLC0415

        parquet.write_table(pa.Table.from_pylist(rows), name)
    flags = (*EXPECT, "--expect", "words=tags", "--id-field", "nr", "--text-field", "body", "--json")
    async with Server(_answering()).running() as server:
        code, out, err = await evaluated(server, _pipeline(KIND, WORDS), name, *flags)
    assert code == 0, err
    tasks = json.loads(out)["variants"][0]["tasks"]
    assert [one["score"]["value"] for one in tasks.values()] == [1.0, 1.0]


async def test_a_mapping_reads_the_rows_as_they_are(evaluated: Callable[..., Any]) -> None:
    """The right answer is a field of the record, however deep. What `when` leaves out does not count."""
    rows = [{"nr": n, "body": f"Ticket {n} is here.", "seen": {"as": _right(n)}, "open": n > 1} for n in range(6)]
    mapping = {"document_id": "nr", "text": "body", "when": "open"}
    async with Server(_answering()).running() as server:
        flags = ("--expect", "kind=seen.as", "--json")
        code, out, err = await evaluated(server, _pipeline(KIND, input=mapping), _written(rows), *flags)
    assert code == 0, err
    (variant,) = json.loads(out)["variants"]
    assert (variant["documents"], variant["tasks"]["kind"]["score"]["value"]) == (4, 1.0)


async def test_what_has_no_right_answer_is_told(evaluated: Callable[..., Any]) -> None:
    """And so is a right answer that the task can never give."""
    rows = [*_rows(3), {"document_id": "x", "text": "Ticket 4 is here.", "label": "Bug"}]
    rows += [{"document_id": "y", "text": "Ticket 5 is here.", "label": None}]
    async with Server(_answering()).running() as server:
        flags = (*EXPECT, "--expect", "words=tags", "--json")
        rows[0]["tags"] = ["paid"]
        _, out, err = await evaluated(server, _pipeline(KIND, WORDS), _written(rows), *flags)
    tasks = json.loads(out)["variants"][0]["tasks"]
    assert (tasks["kind"]["documents"], tasks["words"]["documents"]) == (4, 1)
    assert "kind: 1 expect Bug, which is no label of the task, and count as wrong" in err
    assert "words: 4 without an answer in tags, which do not count for it" in err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--expect TASK=FIELD is missing"),
        (("--expect", "kind"), "--expect: kind is not of the form TASK=FIELD"),
        (("--expect", "kid=label"), "--expect: there is no task kid; did you mean kind?"),
        (("--expect", "kind=lable"), "no row has an answer in lable"),
        ((*EXPECT, "--min", "accuracy"), "--min: accuracy is not of the form NAME=SHARE"),
        ((*EXPECT, "--min", "accuracy=90"), "--min: accuracy=90 is no share from 0 to 1"),
        ((*EXPECT, "--min", "f2=0.9"), "--min: there is no measure f2; there are kind, accuracy"),
        ((*EXPECT, "--min", "f1=0.9"), "--min: there is no measure f1; there are kind, accuracy"),
        ((*EXPECT, "--report", "no/such/report.html"), "--report: no/such/report.html: No such file or directory"),
        (("--expect", "words=label"), None),
    ],
)
async def test_wrong_usage_is_told(evaluated: Callable[..., Any], flags: tuple[str, ...], said: str | None) -> None:
    """Before anything is paid for, as far as that can be."""
    async with Server(_answering()).running() as server:
        code, _, err = await evaluated(server, _pipeline(KIND, WORDS), _written(_rows(2)), *flags)
        paid = len(server.bodies)
    assert code == (2 if said else 0)
    assert (said or "") in err
    assert not (said and paid)
