"""`docsluice explain`: the calls of a pipeline, and what a change of it means."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from docsluice.cli.program import main

TASKS: list[dict[str, Any]] = [
    {"name": "mood", "prompt": "Angry or glad?", "output": {"type": "choice", "labels": ["angry", "glad"]}},
    {"name": "gist", "prompt": "In one sentence?", "output": {"type": "text", "sentences": 1}, "long": "split"},
]
Said = Callable[..., list[str]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What the command prints about these tasks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(tasks: list[dict[str, Any]], *flags: str) -> list[str]:
        Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "tasks": tasks}), encoding="utf-8")
        assert main(["explain", "p.yaml", *flags]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def _changed(number: int, **fields: Any) -> list[dict[str, Any]]:
    tasks = copy.deepcopy(TASKS)
    tasks[number] |= fields
    return tasks


def test_each_call_is_shown(said: Said) -> None:
    """With its prompt, its schema, its own cost, and what becomes of long documents. Nothing is connected to."""
    lines = said(TASKS)
    assert lines[0].endswith(": 2 calls a document (fanout)")
    assert [line for line in lines if "─►" in line] == ["mood ─► gpt-4o-mini", "gist ─► gpt-4o-mini"]
    assert "system      Angry or glad?" in lines
    assert any('"enum": ["angry", "glad"]' in line for line in lines)
    assert any("$" in line and "for 1,000 documents" in line for line in lines)
    assert [line.rpartition("call ")[2] for line in lines if line.startswith("too long")] == [
        "becomes a dead letter",
        "is asked about in parts, and the answers are put together",
    ]


def test_a_chain_and_a_model_without_a_price(said: Said) -> None:
    """All models are named, in their order."""
    lines = said(_changed(0, model=["my-own", "gpt-4o"]))
    assert "mood ─► my-own, or if it fails gpt-4o" in lines
    assert any("no price is known" in line for line in lines)


@pytest.mark.parametrize(
    ("tasks", "mood_is_kept"),
    [
        (TASKS, True),
        (_changed(0, prompt="Is the writer angry or glad?"), False),
        (_changed(0, temperature=0.5), False),
        (_changed(0, output={"type": "choice", "labels": ["angry", "glad", "calm"]}), False),
        (_changed(0, model="gpt-4o"), False),
        (_changed(1, prompt="In one short sentence?"), True),
    ],
)
def test_a_change_tells_which_answers_are_kept(said: Said, tasks: list[dict[str, Any]], *, mood_is_kept: bool) -> None:
    """By the same fingerprint as the store's."""
    Path("before.yaml").write_text(yaml.safe_dump({"name": "p", "tasks": TASKS}), encoding="utf-8")
    mood, _ = said(tasks, "--since", "before.yaml")
    assert mood == f"mood: {'as before. Answers come from the store' if mood_is_kept else AGAIN}"


AGAIN = "asked in another way. Every document that is read again needs a new call"


def test_tasks_that_cannot_share_a_call_are_told(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    """As when the service starts."""
    said(TASKS)
    assert main(["explain", "p.yaml", "--mode", "fused"]) == 2
    assert "they differ in long" in capsys.readouterr().err
