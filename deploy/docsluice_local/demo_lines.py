"""What the demo says of each document, and how long the rest will take. Pure."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from rich.cells import cell_len
from rich.text import Text

from docsluice.outcomes.outcome import Outcome
from docsluice.text.durations import in_words
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.following.columns import cell

ENOUGH = 8
"""From so many documents on, the pace tells when all of them will be done."""
_WARM_UP = 3
_LABEL = 11
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")


def lines_of(outcome: Outcome, *, number: int, expected: int, width: int) -> Iterator[Text]:
    """A document in a few lines: its category and name, and a sentence of its summary. Or why it failed."""
    count, name = f"{number:>{len(str(expected))}}/{expected}", name_of(outcome)
    if outcome.is_dead_letter:
        reason = f"{printable(outcome.reason):<{_LABEL}}"
        yield _fitting(Text.assemble((f"{count} ✗ ", "red"), (reason, "red"), name), width)
        yield _fitting(Text(f"{'':{len(count) + 3}}{printable(outcome.message)}", style="red"), width)
        return
    label = printable(cell(outcome.outputs.get("category", "")))
    yield _fitting(Text.assemble((f"{count} ✓ ", "green"), (f"{label:<{_LABEL}}", "cyan"), (name, "bold")), width)
    if summary := printable(cell(outcome.outputs.get("summary", ""))):
        sentence = _SENTENCE_END.split(summary, maxsplit=1)[0]
        for line in textwrap.wrap(sentence, max(1, width - len(count) - 3), max_lines=2, placeholder="…"):
            yield _fitting(Text(f"{'':{len(count) + 3}}{line}"), width)


def name_of(outcome: Outcome) -> str:
    """A document's name as people write it."""
    return printable(outcome.document_id.removesuffix(".txt").replace("-", " "))


def _fitting(line: Text, width: int) -> Text:
    """The line on one row of the terminal."""
    if cell_len(line.plain) <= width:
        return line
    line.truncate(width - 1)
    return line.append("…")


def seconds_left(ended_at: Sequence[float], *, expected: int) -> float | None:
    """Seconds until all have ended, from the times at which documents ended. None while too few have.

    The first ones are left out: a model reads its examples once, and that takes as long as several documents.
    """
    if len(ended_at) < ENOUGH:
        return None
    pace = (ended_at[-1] - ended_at[_WARM_UP - 1]) / (len(ended_at) - _WARM_UP)
    return pace * (expected - len(ended_at))


def estimate_of(ended_at: Sequence[float], *, expected: int) -> str:
    """The estimate in words. Empty while there is none."""
    left = seconds_left(ended_at, expected=expected)
    return "" if left is None else f"about {in_words(left)} left"


def right_labels(outcomes: Mapping[str, str], labels: Mapping[str, str]) -> tuple[int, int]:
    """How many of the categories are those that a person gave, and how many a person gave."""
    known = [name for name in outcomes if name in labels]
    return sum(outcomes[name] == labels[name] for name in known), len(known)


def next_steps(*, is_local: bool) -> Iterator[str]:
    """What to try after the demo."""
    yield "To try next:"
    yield from chain(
        ("  docsluice init tickets --into support    a pipeline file of your own",),
        ("  docsluice try letter.txt                 your documents, your prompts",),
        ("  docsluice demo --model gpt-4o-mini       the same with a model of OpenAI's",) if is_local else (),
    )
