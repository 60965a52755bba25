"""Documents too large for one call: where to cut them, and how to put together what was said of their parts. Pure."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from docsluice.messages import OutputValue
from docsluice_consumer.tasks.outputs import ChoiceOutput, ListOutput, TextOutput, item_key
from docsluice_consumer.tasks.pipeline_file import Task

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
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])(?=\s|$)|(?<=[\u3002\uff01\uff1f])")
_MOST_RUNS = 3
_LONGEST_WORD = 30
"""A longer one is a sentence in a language that sets no blanks."""
_SENTENCE_CHARACTERS = 80
"""A text that may have fewer is taken for something else than sentences: a title, a name, a date."""


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

    Of choices the one most often made. Of lists the items named for most parts. Prose one below the other, to be
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


def most_runs(task: Task) -> int:
    """Into how many runs of parts a task that asks for prose can be shared out, each with a sentence or more.

    One of which nothing says how long it is to be cannot: it would come out as many times as long.
    """
    output = _prose(task)
    if output.sentences is not None:
        return min(_MOST_RUNS, output.sentences)
    if output.max_characters is None:
        return 1
    return max(1, min(_MOST_RUNS, (output.max_characters + 1) // (_SENTENCE_CHARACTERS + 1)))


def shared_out(task: Task, count: int) -> tuple[Task, ...]:
    """A task that asks for prose, for each of so many runs of parts, of which there are no more than `most_runs`.

    The answers, with a space between them, have as many sentences and at most as many characters as the task asks for.
    A share says how long it is, for the prompt may well speak of the length of the whole.
    """
    if count == 1:
        return (task,)
    return tuple(
        task.model_copy(
            update={"prompt": f"{task.prompt.strip()} {_length(share)}".strip(), "output": share},
        )
        for share in _shared_out(_prose(task), count)
    )


def _shared_out(output: TextOutput, count: int) -> list[TextOutput]:
    if output.sentences is None:
        assert output.max_characters is not None, "it can be shared out"  # noqa: S101
        characters = _shares(output.max_characters - (count - 1), count)
        return [TextOutput(type="text", max_characters=share) for share in characters]
    each = output.sentence_characters
    return [
        TextOutput(type="text", sentences=share, max_characters=None if each is None else each * share + share - 1)
        for share in _shares(output.sentences, count)
    ]


def _length(output: TextOutput) -> str:
    if output.sentences is not None:
        return f"Here in {output.sentences} {'sentence' if output.sentences == 1 else 'sentences'}."
    return f"Here in at most {output.max_characters} characters."


def in_line(tasks: Sequence[Task], answers: Sequence[str]) -> str:
    """The answers to the shares of a task as one text. One that was cut at its bound says so by an ellipsis."""
    return " ".join(_whole(answer, _prose(task)) for task, answer in zip(tasks, answers, strict=True))


def _whole(answer: str, output: TextOutput) -> str:
    """Without the word in which it was cut. What ends like a sentence was not. A blank at the cut is not there."""
    most = output.max_characters
    if output.sentences is not None or most is None or len(answer) < most - 1 or _SENTENCE_END.search(answer[-1:]):
        return answer
    if len(answer) == most:
        words, _, word = answer.rpartition(" ")
        answer = words if words and len(word) <= _LONGEST_WORD else answer[:-1]
    return f"{answer}\u2026"


def shown(task: Task, answer: OutputValue) -> OutputValue:
    """An example's answer as this task would have it: of a share of the task, as many sentences as it has room for."""
    if not isinstance(task.output, TextOutput):
        return answer
    if isinstance(answer, list):
        return answer[: task.output.sentences]
    most = task.output.max_characters
    if most is None or not isinstance(answer, str) or len(answer) <= most:
        return answer
    ends = [end for end in (found.start() for found in _SENTENCE_END.finditer(answer)) if end <= most]
    return answer[: max(ends, default=most)]


def runs(parts: Sequence[T], count: int) -> list[Sequence[T]]:
    """The parts in so many runs of neighbours, none empty: of three, the first part, the last and all between.

    `count` is 1 to 3 and at most the number of parts. A document says at its beginning what it is about and at its end
    what came of it, and a model that is given many summaries speaks mostly of the first few.
    """
    bounds = {1: [0], 2: [0, -(-len(parts) // 2)], 3: [0, 1, len(parts) - 1]}[count]
    return [parts[begin:end] for begin, end in itertools.pairwise([*bounds, len(parts)])]


def _prose(task: Task) -> TextOutput:
    if not isinstance(task.output, TextOutput):
        raise TypeError(f"{task.output.type} answers cannot be condensed")
    return task.output


def _shares(whole: int, count: int) -> list[int]:
    """The same for both ends, and what is over for what lies between. Of two, the first has it."""
    least = whole // count
    shares = [least] * count
    shares[count // 3] = whole - least * (count - 1)
    return shares


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
    """By how many of the lists name an item. Then by its place in them, for the first named matters most."""
    named: Counter[str] = Counter()
    spelt: dict[str, tuple[int, int, str]] = {}
    for number, answer in enumerate(lists):
        for place, item in enumerate(answer):
            key = item_key(item)
            named[key] += 1
            spelt[key] = min(spelt.get(key, (place, number, item)), (place, number, item))
    ordered = sorted(spelt, key=lambda key: (-named[key], spelt[key]))
    return [spelt[key][2] for key in ordered[:items]]
