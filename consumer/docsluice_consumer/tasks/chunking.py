"""Documents too large for one call: where to cut them, and how to join the answers about their parts. Pure."""

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
"""How much of a part's size may be given up for a better seam."""
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])(?=\s|$)|(?<=[\u3002\uff01\uff1f])")
_MOST_RUNS = 3
_LONGEST_WORD = 30
"""A longer one is a sentence in a language without blanks."""
_SENTENCE_CHARACTERS = 80
"""A text that may have fewer is no sentence: it is a title, a name or a date."""


def parts_of(text: str, *, most_bytes: int) -> list[str]:
    """Cut a text into parts of similar size, at most `most_bytes` of UTF-8 each. Together they are the text.

    A seam between paragraphs is preferred to one between lines, sentences or words. `most_bytes` is at least 4, because
    one character may take that many.
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
    """The beginning of a text, at most `most_bytes`, cut at the best seam near there."""
    return text if len(text.encode()) <= most_bytes else _beginning(text, most_bytes, most_bytes)


def beginning_of(text: str, characters: int | None) -> str:
    """The beginning of a text, at most so many characters, cut at the best seam near there. All of it with None."""
    if characters is None or len(text) <= characters:
        return text
    return head_of(text, most_bytes=len(text[:characters].encode()))


def together(task: Task, answers: Sequence[OutputValue]) -> OutputValue:
    """One answer from those about the parts, in their order.

    The most frequent choice, the items named for most parts, or prose one below the other, to be condensed. Equally
    frequent items stay in the order of the document.
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
    """The number of runs of parts for a prose task, each with a sentence or more.

    A task without a length gets one run. Otherwise its answer would grow with the number of runs.
    """
    output = _prose(task)
    if output.sentences is not None:
        return min(_MOST_RUNS, output.sentences)
    if output.max_characters is None:
        return 1
    return max(1, min(_MOST_RUNS, (output.max_characters + 1) // (_SENTENCE_CHARACTERS + 1)))


def shared_out(task: Task, count: int) -> tuple[Task, ...]:
    """A prose task for each of `count` runs of parts, at most `most_runs`.

    Joined with spaces, the answers have the sentences, and at most the characters, that the task asks for. Each share
    states its own length, because the prompt may state that of the whole.
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
    """Join the answers to a task's shares. An answer that was cut at its bound ends with an ellipsis."""
    return " ".join(_whole(answer, _prose(task)) for task, answer in zip(tasks, answers, strict=True))


def _whole(answer: str, output: TextOutput) -> str:
    """Remove the word in which an answer was cut. One that ends like a sentence was not cut."""
    most = output.max_characters
    if output.sentences is not None or most is None or len(answer) < most - 1 or _SENTENCE_END.search(answer[-1:]):
        return answer
    if len(answer) == most:
        words, _, word = answer.rpartition(" ")
        answer = words if words and len(word) <= _LONGEST_WORD else answer[:-1]
    return f"{answer}\u2026"


def shown(task: Task, answer: OutputValue) -> OutputValue:
    """An example's answer for this task. A share of a task takes as many sentences as it has room for."""
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
    """Split the parts into `count` runs of neighbours, none empty. Of three: the first part, all between, the last.

    `count` is 1 to 3 and at most the number of parts. A document says at its beginning what it is about, and at its end
    what came of it. A model with many summaries speaks mostly of the first few.
    """
    bounds = {1: [0], 2: [0, -(-len(parts) // 2)], 3: [0, 1, len(parts) - 1]}[count]
    return [parts[begin:end] for begin, end in itertools.pairwise([*bounds, len(parts)])]


def _prose(task: Task) -> TextOutput:
    if not isinstance(task.output, TextOutput):
        raise TypeError(f"{task.output.type} answers cannot be condensed")
    return task.output


def _shares(whole: int, count: int) -> list[int]:
    """Equal shares for both ends, and the rest for the middle. Of two, the first has the rest."""
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
    """How many of a text's first characters fit into `most_bytes`."""
    return len(text[:most_bytes].encode()[:most_bytes].decode(errors="ignore"))


def _most_named(lists: Sequence[OutputValue], items: int) -> list[str]:
    """The items that most lists name. Ties go by their place in the lists: the first named matters most."""
    named: Counter[str] = Counter()
    spelt: dict[str, tuple[int, int, str]] = {}
    for number, answer in enumerate(lists):
        for place, item in enumerate(answer):
            key = item_key(item)
            named[key] += 1
            spelt[key] = min(spelt.get(key, (place, number, item)), (place, number, item))
    ordered = sorted(spelt, key=lambda key: (-named[key], spelt[key]))
    return [spelt[key][2] for key in ordered[:items]]
