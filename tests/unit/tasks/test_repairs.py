"""A model that repeats what the repair told it."""

from __future__ import annotations

import pytest

from docsluice.messages import OutputValue
from docsluice_consumer.errors import InvalidAnswer
from docsluice_consumer.tasks.repairs import is_echo, repair_text

PROBLEM = InvalidAnswer("summary must be a string that is not blank")
PROMPT = "Summarize the document in one sentence."
TEXT = repair_text(PROBLEM)


def _is_echo(output: OutputValue, document: str = "A chip is small.", prompt: str = PROMPT) -> bool:
    return is_echo(output, prompt=prompt, problem=PROBLEM, document=document)


@pytest.mark.parametrize(
    "output",
    [
        TEXT,
        f"I am sorry. {TEXT.upper()}",
        "That answer is not valid.",
        "that  answer\nis NOT valid!",
        "Answer with one JSON object",
        str(PROBLEM),
        "It must be a string that is not blank.",
        ["chips", "answer with one JSON object."],
        {"a": [{"b": TEXT}]},
        PROMPT,
        "summarize the document in one sentence",
    ],
)
def test_our_own_words_are_no_answer(output: OutputValue) -> None:
    """In whatever case and punctuation, alone or among others, at any depth, and neither is the task's prompt."""
    assert _is_echo(output)


@pytest.mark.parametrize(
    "output",
    [
        "A chip is small.",
        "The answer is valid.",
        "JSON",
        ["not valid", "answer", "blank"],
        f"{PROMPT} A chip is small.",
        None,
        3,
        {},
    ],
)
def test_an_answer_is_no_echo(output: OutputValue) -> None:
    """A word or three in common, all of the document, or the question before its answer: a task may want that."""
    assert not _is_echo(output)


def test_what_the_document_says_may_be_said_of_it() -> None:
    """A document about us is summarized in the same words."""
    assert not _is_echo("It prints: that answer is not valid.", document='It says "That answer is not valid: …"')
    assert not _is_echo(PROMPT, document=f"They were told: {PROMPT}")


def test_a_short_prompt_may_be_an_answer() -> None:
    """A word or two are no sign of anything."""
    assert not _is_echo("Key facts", prompt="Key facts.")
