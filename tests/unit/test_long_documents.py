"""Where documents are cut, and how the answers about their parts become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.llm.long_documents import head_of, in_line, most_runs, parts_of, runs, shared_out, shown, together
from consumer.llm.outputs import TextOutput
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
    ("output", "shares"),
    [
        ({"sentences": 2}, [{"sentences": 1}, {"sentences": 1}]),
        ({"sentences": 3}, [{"sentences": 2}, {"sentences": 1}]),
        ({"sentences": 3}, [{"sentences": 1}] * 3),
        ({"sentences": 5}, [{"sentences": 1}, {"sentences": 3}, {"sentences": 1}]),
        ({"max_characters": 422}, [{"max_characters": 140}] * 3),
        (
            {"sentences": 2, "max_characters": 402},
            [{"sentences": 1, "max_characters": 201}, {"sentences": 1, "max_characters": 200}],
        ),
        ({}, [{}, {}]),
    ],
)
def test_a_task_is_shared_out(output: dict[str, int], shares: list[dict[str, int]]) -> None:
    """With the blanks between them they have as many sentences and characters as the whole."""
    found = shared_out(_task(type="text", **output), len(shares))
    assert [task.output for task in found] == [TextOutput(type="text", **share) for share in shares]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"sentences": 3}, "Do it. Here in 1 sentence."),
        ({"sentences": 6, "max_characters": 99}, "Do it. Here in 2 sentences."),
        ({"max_characters": 422}, "Do it. Here in at most 140 characters."),
        ({}, "Do it."),
    ],
)
def test_a_share_says_how_long_it_is(output: dict[str, int], says: str) -> None:
    """The prompt may ask for three sentences, and each share is one of them."""
    task = _task(type="text", **output).model_copy(update={"prompt": "Do it. "})
    assert [share.prompt for share in shared_out(task, 3)] == [says] * 3
    assert shared_out(task, 1) == (task,)


@pytest.mark.parametrize(
    ("output", "most"),
    [({}, 3), ({"sentences": 2}, 2), ({"sentences": 9}, 3), ({"max_characters": 4}, 2), ({"max_characters": 420}, 3)],
)
def test_a_task_is_shared_out_as_far_as_it_goes(output: dict[str, int], most: int) -> None:
    """Each share is at least a sentence and a character."""
    task = _task(type="text", **output)
    assert most_runs(task) == most
    assert len(shared_out(task, most)) == most


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("Short one", "Short one"),
        ("It is done. And th", "It is done."),
        ("One. Two. It is so", "One. Two."),
        ("It is exactly so.!", "It is exactly so.!"),
        ("Never ending words", "Never ending\u2026"),
        ("x" * 18, "x" * 17 + "\u2026"),
        ("\u6c34\u3002" + "\u6c34" * 16, "\u6c34\u3002"),
    ],
)
def test_what_was_cut_at_its_bound_is_made_whole(answer: str, kept: str) -> None:
    """The next share would go on in the middle of a sentence."""
    task = _task(type="text", max_characters=18)
    assert in_line([task, task], [answer, "Then."]) == f"{kept} Then."


def test_of_a_share_of_a_task_as_much_of_an_example_is_shown() -> None:
    """Else the examples would contradict the schema."""
    shares = shared_out(_task(type="text", sentences=3), 2)
    assert [shown(share, ["a", "b", "c"]) for share in shares] == [["a", "b"], ["a"]]
    assert shown(_task(type="text"), "prose") == "prose"
    bounded = _task(type="text", max_characters=20)
    assert shown(bounded, "It is so. It is not. Or is it?") == "It is so. It is not."
    assert shown(bounded, "It is as long as that.") == "It is as long as tha"
    assert shown(_task(type="list", items=2), ["a", "b"]) == ["a", "b"]


@given(st.lists(st.integers(), min_size=1, max_size=20), st.integers(1, 3))
def test_runs_are_of_neighbours(parts: list[int], count: int) -> None:
    """Nothing is left out and none is empty; of three, the first and the last part stand alone."""
    count = min(count, len(parts))
    found = runs(parts, count)
    assert [part for run in found for part in run] == parts
    assert len(found) == count
    assert all(found)
    if count == 3:
        assert (len(found[0]), len(found[-1])) == (1, 1)
