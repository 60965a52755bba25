"""Answers that somebody has written down, in the shape that a request asks for."""

from __future__ import annotations

from typing import Any

import pytest

from docsluice_local.rehearsal.script import NOT_SAID, scripted


class OneTask:
    """A script for the task `a`."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def said(self, task: str, *, document: str) -> Any:
        return self._answer if task == "a" else NOT_SAID


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("One. Two! Three?", ["One.", "Two! Three?"]),
        ("One two three", ["One", "two three"]),
        ("One", ["One", ""]),
        (["x"], ["x"]),
    ],
)
def test_a_text_is_asked_for_as_sentences(written: object, asked: list[str]) -> None:
    """Joined again, they are the text. What else is answered stays."""
    schema = {"properties": {"a": {"type": "array", "minItems": 2}, "b": {"type": "string"}}}
    told = scripted({"a": [], "b": "made up"}, OneTask(written), schema=schema, document="")
    assert told == {"a": asked, "b": "made up"}


def test_an_answer_to_nobodys_schema_stays() -> None:
    """A request without properties has no tasks."""
    assert scripted("words", OneTask("x"), schema={}, document="") == "words"
