"""The repair of an invalid answer, and how an answer that only repeats it is recognised. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docsluice.messages import OutputValue
from docsluice.text.printable import shortened
from docsluice_consumer.errors import InvalidAnswer

CLOSING = "Answer with one JSON object."
_OPENING = "That answer is not valid"
_NOTHING = "{}"
_WORD = re.compile(r"\w+")
_LEAST_WORDS = 4
"""Fewer of our words in a row may well be the model's own."""
_MOST_ANSWER_CHARACTERS = 64 * 1024
"""A longer answer is not shown as a whole, because that would be paid for once more."""


def repair_text(problem: InvalidAnswer) -> str:
    """The turn that asks for another answer."""
    return f"{_OPENING}: {problem}. {CLOSING}"


def shown_answer(text: str) -> str:
    """The answer as the turn before the repair, cut where it is very long. Providers refuse an empty turn."""
    return shortened(text, _MOST_ANSWER_CHARACTERS) if text.strip() else _NOTHING


def is_echo(output: OutputValue, *, prompt: str, problem: InvalidAnswer, document: str) -> bool:
    """Whether an output holds the words of the repair, or is the task's prompt. Small models repeat what they read.

    Words of the document itself do not count. A text that is the whole document is no echo: a task may ask for one.
    """
    _, _, without_the_field = str(problem).partition(" ")
    told = [_words(text) for text in (_OPENING, CLOSING, str(problem), without_the_field)]
    whole, read = _words(prompt), _words(document)
    echoes = [words for words in told if len(words) >= _LEAST_WORDS and not _within(words, read)]
    is_prompt_told = len(whole) >= _LEAST_WORDS and not _within(whole, read)
    for text in _texts(output):
        said = _words(text)
        if any(_within(words, said) for words in echoes):
            return True
        if is_prompt_told and said == whole:
            return True
    return False


def _words(text: str) -> list[str]:
    """The words without case and punctuation, which a model changes when it repeats something."""
    return _WORD.findall(text.casefold())


def _within(words: list[str], others: list[str]) -> bool:
    return f" {' '.join(words)} " in f" {' '.join(others)} "


def _texts(output: OutputValue) -> Iterator[str]:
    """Every string in a value."""
    waiting = [output]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
