"""Where documents are cut, and how the answers about their parts become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.llm.long_documents import halved, head_of, parts_of, runs, shown, together
from consumer.llm.pipeline_file import Task

TEXTS = st.text(alphabet=st.sampled_from("ab. \n\u3002é漢😀"), max_size=400)


@given(TEXTS, st.integers(4, 60))
def test_the_parts_are_the_text(text: str, most_bytes: int) -> None:
    """Nothing is lost, nothing is twice, none is too large, and none is empty."""
    parts = parts_of(text, most_bytes=most_bytes)
    assert "".join(parts) == text
    assert all(len(part.encode()) <= most_bytes for part in parts)
    assert all(parts) or parts == [""]


@given(TEXTS, st.integers(4, 60))
def test_a_head_is_a_beginning(text: str, most_bytes: int) -> None:
    """Of the size allowed, and of all of it where that fits."""
    head = head_of(text, most_bytes=most_bytes)
    assert text.startswith(head)
    assert len(head.encode()) <= most_bytes
    assert head == text or head


@given(st.integers(40, 4000), st.integers(40, 400))
def test_no_more_parts_than_needed_but_a_few(words: int, most_bytes: int) -> None:
    """Each part is paid for: seams cost a third more of them at the most, and one."""
    text = "word " * words
    assert len(parts_of(text, most_bytes=most_bytes)) <= len(text) / most_bytes * 4 / 3 + 2


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.\nThree three.\n\nFour. Five five five.\nSix.", "One. Two.\nThree three.\n\n"),
        ("One two three.\nFour five. Six seven eight", "One two three.\n"),
        ("One two three four. Five six seven eight", "One two three four. "),
        ("one two three four five six seven eight", "one two three four "),
        ("第一句话在这里。第二句话在这里。", "第一句话在这里。"),
        ("x" * 40, "x" * 20),
    ],
)
def test_a_text_is_cut_where_it_hurts_least(text: str, first: str) -> None:
    """Between paragraphs; else lines, sentences, words; else anywhere."""
    assert parts_of(text, most_bytes=len(text.encode()) * 2 // 3)[0] == first


def _task(**output: object) -> Task:
    return Task.model_validate({"name": "t", "prompt": "P", "output": output})


def test_the_choice_most_often_made_is_the_choice() -> None:
    """Of equally frequent ones the first in the document."""
    task = _task(type="choice", labels=["a", "b", "c"])
    assert together(task, ["c", "b", "a", "b"]) == "b"
    assert together(task, ["c", "b"]) == "c"


def test_items_named_for_most_parts_come_first() -> None:
    """Whatever their case; then what a part named first; no more than were asked for."""
    task = _task(type="list", items=3)
    assert together(task, [["Kafka", "cats", "x"], ["dogs", "kafka", "y"], ["bees", "z", "KAFKA"]]) == [
        "Kafka",
        "dogs",
        "bees",
    ]


def test_prose_is_put_below_prose() -> None:
    """In the document's order, to be condensed."""
    assert together(_task(type="text"), ["One.", "Two."]) == "One.\n\nTwo."


def test_other_answers_cannot_be_put_together() -> None:
    """A pipeline file that asks for it is refused; this is the last line."""
    task = _task(type="json", schema={"type": "object"})
    with pytest.raises(TypeError, match="json"):
        together(task, [{}, {}])


@pytest.mark.parametrize(
    ("output", "first", "second"),
    [
        ({"sentences": 3}, {"sentences": 2}, {"sentences": 1}),
        (
            {"sentences": 2, "max_characters": 401},
            {"sentences": 1, "max_characters": 201},
            {"sentences": 1, "max_characters": 200},
        ),
        ({}, {}, {}),
    ],
)
def test_a_task_is_halved(output: dict[str, int], first: dict[str, int], second: dict[str, int]) -> None:
    """Together the halves have as many sentences and characters as the whole."""
    halves = halved(_task(type="text", **output))
    assert halves == (_task(type="text", **first), _task(type="text", **second))


def test_a_single_sentence_is_not_halved() -> None:
    """It is asked about the whole."""
    assert halved(_task(type="text", sentences=1)) is None


def test_of_half_a_task_half_an_example_is_shown() -> None:
    """Else the examples would contradict the schema."""
    halves = halved(_task(type="text", sentences=3))
    assert halves is not None
    assert [shown(half, ["a", "b", "c"]) for half in halves] == [["a", "b"], ["a"]]
    assert shown(_task(type="text"), "prose") == "prose"


@given(st.lists(st.integers(), min_size=1, max_size=20), st.integers(1, 5))
def test_runs_are_of_neighbours(parts: list[int], count: int) -> None:
    """Nothing is left out, none is empty, and they are about equally long."""
    found = runs(parts, count)
    assert [part for run in found for part in run] == parts
    assert len(found) == min(count, len(parts))
    assert max(map(len, found)) - min(map(len, found)) <= 1
