"""Where documents are cut, and how the answers about their parts become one."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from docsluice_consumer.tasks.chunking import head_of, in_line, most_runs, parts_of, runs, shared_out, shown, together
from docsluice_consumer.tasks.outputs import TextOutput
from docsluice_consumer.tasks.pipeline_file import Task

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
    """Between paragraphs, else lines, sentences, words, else anywhere."""
    assert parts_of(text, most_bytes=len(text.encode()) * 2 // 3)[0] == first


def _task(**output: object) -> Task:
    return Task.model_validate({"name": "t", "prompt": "P", "output": output})


def test_the_choice_most_often_made_is_the_choice() -> None:
    """Of equally frequent ones the first in the document."""
    task = _task(type="choice", labels=["a", "b", "c"])
    assert together(task, ["c", "b", "a", "b"]) == "b"
    assert together(task, ["c", "b"]) == "c"


def test_items_named_for_most_parts_come_first() -> None:
    """Whatever their case. Then what a part named first. No more than were asked for."""
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
    """A pipeline file that asks for it is refused. This is the last line."""
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
            {"sentences": 4, "max_characters": 403},
            [{"sentences": n, "max_characters": 100 * n + n - 1} for n in (1, 2, 1)],
        ),
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
    ],
)
def test_a_share_says_how_long_it_is(output: dict[str, int], says: str) -> None:
    """The prompt may ask for three sentences, and each share is one of them."""
    task = _task(type="text", **output).model_copy(update={"prompt": "Do it. "})
    assert [share.prompt for share in shared_out(task, 3)] == [says] * 3
    assert shared_out(task, 1) == (task,)


@pytest.mark.parametrize(
    ("output", "most"),
    [
        ({}, 1),
        ({"sentences": 2}, 2),
        ({"sentences": 9}, 3),
        ({"sentences": 3, "max_characters": 30}, 3),
        ({"max_characters": 1}, 1),
        ({"max_characters": 160}, 1),
        ({"max_characters": 161}, 2),
        ({"max_characters": 420}, 3),
    ],
)
def test_a_task_is_shared_out_as_far_as_it_goes(output: dict[str, int], most: int) -> None:
    """A share is at least a sentence, so a date or a title is none, nor is what may be of any length."""
    task = _task(type="text", **output)
    assert most_runs(task) == most
    assert len(shared_out(task, most)) == most


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("Short one", "Short one"),
        ("It is done. And th", "It is done. And\u2026"),
        ("Dr. Who has said t", "Dr. Who has said\u2026"),
        ("It is exactly so.!", "It is exactly so.!"),
        ("The reef grows. It", "The reef grows.\u2026"),
        ("The reef grows now", "The reef grows\u2026"),
        ("The reef is growi", "The reef is growi\u2026"),
        ("x" * 18, "x" * 17 + "\u2026"),
        ("\u6c34\u3002" + "\u6c34" * 16, "\u6c34\u3002" + "\u6c34" * 15 + "\u2026"),
    ],
)
def test_what_was_cut_at_its_bound_says_so(answer: str, kept: str) -> None:
    """The next share would go on in the middle of a sentence."""
    task = _task(type="text", max_characters=18)
    assert in_line([task, task], [answer, "Then."]) == f"{kept} Then."
    assert len(kept) <= 18


def test_a_long_text_without_blanks_keeps_its_words() -> None:
    """In some languages a blank stands only beside a foreign word."""
    task = _task(type="text", max_characters=40)
    assert in_line([task], ["GPS " + "\u6c34" * 36]) == "GPS " + "\u6c34" * 35 + "\u2026"


@given(st.integers(1, 12), st.integers(1, 2_000))
def test_shares_are_never_longer_than_the_whole(sentences: int, characters: int) -> None:
    """However the bounds divide."""
    assume(characters >= 2 * sentences - 1)
    for output in ({"sentences": sentences, "max_characters": characters}, {"max_characters": characters}):
        task = _task(type="text", **output)
        for count in range(1, most_runs(task) + 1):
            shares = [share.output for share in shared_out(task, count) if isinstance(share.output, TextOutput)]
            longest = [["x" * (share.sentence_characters or 0)] * (share.sentences or 0) for share in shares]
            texts = [
                share.read(said or "x" * (share.max_characters or 0))
                for share, said in zip(shares, longest, strict=True)
            ]
            assert len(" ".join(texts)) <= characters
            assert sum(len(said) for said in longest) == output.get("sentences", 0)


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
    """Nothing is left out and none is empty. Of three, the first and the last part stand alone."""
    count = min(count, len(parts))
    found = runs(parts, count)
    assert [part for run in found for part in run] == parts
    assert len(found) == count
    assert all(found)
    if count == 3:
        assert (len(found[0]), len(found[-1])) == (1, 1)
