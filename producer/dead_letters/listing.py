"""`docsluice-producer dead-letters list`: a line for each, and a table of what they come to."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from producer.dead_letters.counts import NONE, Counts
from producer.dead_letters.letter import Letter
from producer.dead_letters.question import Question, letters_for_looking
from producer.exits import Exit
from producer.following.display import console
from producer.printable import printable, usd
from producer.stopping import stop_on_signals

_MESSAGE_CHARACTERS = 80
_LEAST_MESSAGE_CHARACTERS = 12
_COLUMNS = (
    ("when (UTC)", 19),
    ("reason", 17),
    ("step", 10),
    ("document", 20),
    ("place", 8),
    ("calls", 5),
    ("replays", 7),
    ("cost", 9),
)


async def list_letters(question: Question, *, as_json: bool) -> int:
    """Print each dead letter as it is read, then the table; return the exit code.

    Raises:
        BrokerAway, BrokerRefused: as `letters_for_looking`.
    """
    status, out = console(stderr=True), console()
    rows = _Rows(out, with_state=question.wanted.handled_too)
    counts = Counts()
    with question.link(status.print) as link:
        async with letters_for_looking(question, link) as letters:
            with stop_on_signals(lambda: None) as stop:
                async for letter in letters.until(lambda: stop.signal is not None):
                    counts.add(letter)
                    if as_json:
                        print(json_text(letter.fields), flush=True)
                    else:
                        rows.show(letter)
                    if counts.total == question.limit:
                        break
    totals = status if as_json else out
    if counts.total and not as_json:
        totals.print()
    for line in [*counts.lines, *letters.selection.remarks]:
        totals.print(line)
    return stop.exit_code or Exit.DONE


def json_text(fields: Mapping[str, Any]) -> str:
    """One line of JSON, as `follow --json` writes it."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


class _Rows:
    """The lines for a person, under a line of their names. A message is cut at the terminal's edge."""

    def __init__(self, out: Console, *, with_state: bool) -> None:
        self._out = out
        self._columns = (*_COLUMNS, ("state", 8)) if with_state else _COLUMNS
        self._told = False

    def show(self, letter: Letter) -> None:
        if not self._told:
            self._told = True
            self._print([name for name, _ in self._columns], "message")
        outcome = letter.outcome
        cells = [
            f"{outcome.finished_at:%Y-%m-%d %H:%M:%S}",
            outcome.reason,
            outcome.step or NONE,
            outcome.document_id,
            str(letter.place),
            _number(outcome.fields["attempts"]),
            str(letter.replays),
            usd(outcome.cost_usd),
            letter.state.value,
        ]
        self._print(cells[: len(self._columns)], outcome.message)

    def _print(self, cells: list[str], message: str) -> None:
        widths = [width for _, width in self._columns]
        line = "  ".join(printable(cell).ljust(width) for cell, width in zip(cells, widths, strict=True))
        room = max(_LEAST_MESSAGE_CHARACTERS, self._out.width - len(line) - 2) if self._out.is_terminal else None
        print(f"{line}  {_beginning(printable(message), room or _MESSAGE_CHARACTERS)}".rstrip())


def _beginning(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _number(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"
