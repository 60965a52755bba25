"""`docsluice dead-letters list`: a line for each, and a table of what they come to."""

from collections.abc import Mapping

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.numbers import printable, usd
from docsluice_producer.command_line.stop_signals import stop_on_signals
from docsluice_producer.dead_letters.counts import NONE, Counts
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.query import DeadLetterQuery, letters_for_looking
from docsluice_producer.following.display import console
from docsluice_producer.following.text_files import json_text

_MESSAGE_CHARACTERS = 80
_LEAST_MESSAGE_CHARACTERS = 12
_PLACE = "place"
_GAP = "  "
_COLUMNS = (
    ("when (UTC)", 19),
    ("reason", 18),
    ("step", 10),
    ("document", 20),
    (_PLACE, 10),
    ("calls", 5),
    ("replays", 7),
    ("cost", 11),
)
_LEFT_OUT = ("replays", "calls", "cost", "step", "when (UTC)", "state")
"""Where a terminal is too narrow for all columns, the first of these goes, then the second, …"""


async def list_letters(query: DeadLetterQuery, *, as_json: bool) -> int:
    """Print each dead letter as it is read, then the table. Return the exit code.

    Raises:
        BrokerAway, BrokerRefused: as `letters_for_looking`.
    """
    status, out = console(stderr=True), console()
    rows = Rows(out=out, with_state=query.wanted.handled_too)
    counts = Counts()
    async with letters_for_looking(query, status.print) as letters:
        with stop_on_signals(lambda: None) as stop:
            async for letter in letters.until(lambda: stop.signal is not None):
                counts.add(letter)
                if as_json:
                    print(json_text(letter.fields), flush=True)
                else:
                    rows.show(letter)
                if counts.total == query.limit:
                    break
    totals = status if as_json else out
    if counts.total and not as_json:
        totals.print()
    for line in [*counts.lines, *letters.selection.remarks]:
        totals.print(line)
    return stop.exit_code or Exit.DONE


class Rows:
    """Lines for a person, under a line of column names. Cells are cut to their columns, a message at the edge."""

    def __init__(self, *, out: Console, with_state: bool) -> None:
        self._out = out
        self._widths = dict((*_COLUMNS, ("state", 8)) if with_state else _COLUMNS)
        for name in _LEFT_OUT if out.is_terminal else ():
            if sum(self._widths.values()) + len(_GAP) * len(self._widths) + _LEAST_MESSAGE_CHARACTERS <= out.width:
                break
            self._widths.pop(name, None)
        self._told = False

    def show(self, letter: Letter) -> None:
        """Print one, after the line of the names if it is the first."""
        if not self._told:
            self._told = True
            self._print({name: name for name in self._widths}, "message")
        outcome, place = letter.outcome, str(letter.place)
        # Half a place would be useless. A column's width is unknown until its last line, so it widens on the way.
        self._widths[_PLACE] = max(self._widths[_PLACE], len(place))
        cells = {
            "when (UTC)": f"{outcome.finished_at:%Y-%m-%d %H:%M:%S}",
            "reason": outcome.reason,
            "step": outcome.step or NONE,
            "document": outcome.document_id,
            _PLACE: place,
            "calls": _number(outcome.fields["attempts"]),
            "replays": str(letter.replays),
            "cost": usd(outcome.cost_usd),
            "state": letter.state.value,
        }
        self._print(cells, outcome.message)

    def _print(self, cells: Mapping[str, str], message: str) -> None:
        fitted = (
            set_cell_size(_beginning(printable(cells[name]), width), width) for name, width in self._widths.items()
        )
        line = _GAP.join(fitted)
        room = max(_LEAST_MESSAGE_CHARACTERS, self._out.width - cell_len(line) - len(_GAP))
        shown = _beginning(printable(message), room if self._out.is_terminal else _MESSAGE_CHARACTERS)
        print(f"{line}{_GAP}{shown}".rstrip(), file=self._out.file)


def _beginning(text: str, cells: int) -> str:
    """The text, cut to `cells` of a screen. A character may take two cells."""
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"


def _number(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"
