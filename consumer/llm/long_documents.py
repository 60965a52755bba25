"""Documents too large for one call: where to cut them, and how to put together what was said of their parts. Pure."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from consumer.contracts import OutputValue
from consumer.llm.outputs import ChoiceOutput, ListOutput, TextOutput
from consumer.llm.pipeline_file import Task

T = TypeVar("T")
_SEAMS = (
    re.compile(r"\n\s*\n\s*"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d\u2019\u00bb]*\s+|(?<=[\u3002\uff01\uff1f])"),
    re.compile(r"\s+"),
)
"""Where a text may be cut, best first: between paragraphs, lines, sentences, words."""
_SLACK = 0.25
"""So much of a part's size may be given up for a better seam."""


def parts_of(text: str, *, most_bytes: int) -> list[str]:
    """Cut a text into parts of about the same size and of at most so many bytes of UTF-8, which together are the text.

    A seam between paragraphs is preferred to one between lines, sentences or words. `most_bytes` is at least 4, for one
    character may take as many.
    """
    parts, rest = [], text
    size = len(text.encode())
    while size > most_bytes:
        count = -(-size // most_bytes)
        part = _beginning(rest, size / count, most_bytes)
        parts.append(part)
        rest = rest[len(part) :]
        size -= len(part.encode())
    return [*parts, rest]


def head_of(text: str, *, most_bytes: int) -> str:
    """The beginning of a text, of at most so many bytes, cut at the best seam near there."""
    return text if len(text.encode()) <= most_bytes else _beginning(text, most_bytes, most_bytes)


def together(task: Task, answers: Sequence[OutputValue]) -> OutputValue:
    """One answer from those about the parts, in their order.

    Of choices the one most often made; of lists the items named for most parts; prose one below the other, to be
    condensed. What is equally frequent stays in the order of the document.
    """
    match task.output:
        case ChoiceOutput():
            return Counter(answers).most_common(1)[0][0]
        case ListOutput(items=items):
            return _most_named(answers, items)
        case TextOutput():
            return "\n\n".join(answers)
        case _:
            raise TypeError(f"{task.output.type} answers cannot be put together")


def halved(task: Task) -> tuple[Task, Task] | None:
    """A task that asks for prose, for each half of a document; None where there is only one sentence to ask for.

    Each half has half of the sentences and characters, or the first one more.
    """
    assert isinstance(task.output, TextOutput)  # noqa: S101 - only prose is halved
    sentences, characters = task.output.sentences, task.output.max_characters
    if sentences == 1 or characters == 1:
        return None
    first = TextOutput(
        type="text",
        sentences=sentences and -(-sentences // 2),
        max_characters=characters and -(-characters // 2),
    )
    second = TextOutput(
        type="text", sentences=sentences and sentences // 2, max_characters=characters and characters // 2
    )
    return task.model_copy(update={"output": first}), task.model_copy(update={"output": second})


def shown(task: Task, answer: OutputValue) -> OutputValue:
    """An example's answer as this task would have it: of half a task, half of it."""
    sentences = task.output.sentences if isinstance(task.output, TextOutput) else None
    return answer[:sentences] if isinstance(answer, list) else answer


def runs(parts: Sequence[T], count: int) -> list[Sequence[T]]:
    """So many runs of neighbours of about the same length, or fewer where there are fewer parts."""
    count = min(count, len(parts))
    bounds = [round(number * len(parts) / count) for number in range(count + 1)]
    return [parts[begin:end] for begin, end in itertools.pairwise(bounds)]


def _beginning(text: str, wanted_bytes: float, most_bytes: int) -> str:
    """A part of about `wanted_bytes`, and never more than `most_bytes`."""
    most = _characters(text, most_bytes)
    wanted = min(most, _characters(text, int(wanted_bytes)))
    least, latest = int(wanted * (1 - _SLACK)), min(most, int(wanted * (1 + _SLACK)))
    for seam in _SEAMS:
        ends = [found.end() for found in seam.finditer(text, max(0, least - 1), latest)]
        fitting = [end for end in ends if least <= end <= latest and end]
        if fitting:
            return text[: min(fitting, key=lambda end: abs(end - wanted))]
    return text[: max(1, wanted)]


def _characters(text: str, most_bytes: int) -> int:
    """How many of its first characters take at most so many bytes."""
    return len(text[:most_bytes].encode()[:most_bytes].decode(errors="ignore"))


def _most_named(lists: Sequence[OutputValue], items: int) -> list[str]:
    """By how many of the lists name an item; then by its place in them, for the first named matters most."""
    named: Counter[str] = Counter()
    spelt: dict[str, tuple[int, int, str]] = {}
    for number, answer in enumerate(lists):
        for place, item in enumerate(answer):
            named[item.casefold()] += 1
            spelt[item.casefold()] = min(spelt.get(item.casefold(), (place, number, item)), (place, number, item))
    ordered = sorted(spelt, key=lambda item: (-named[item], spelt[item]))
    return [spelt[item][2] for item in ordered[:items]]
