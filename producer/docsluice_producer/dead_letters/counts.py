"""Dead letters counted by reason and step, and the table of that. Pure."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from docsluice.messages import rfc3339
from docsluice_producer.command_line.numbers import counted, printable, usd
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.marks import State
from docsluice_producer.following.money import left_out

_HEAD = ("reason", "step", "count", "newest", "spent")
NONE = "-"


@dataclass(slots=True)
class _Count:
    count: int = 0
    newest: datetime | None = None
    cost_usd: Decimal = Decimal(0)


class Counts:
    """Counts of dead letters, when the newest failed, and what was spent on them.

    The dollars leave out redriven ones. What was spent on those goes along with the record, and is counted where it
    ends the next time.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], _Count] = {}
        self._redriven = 0
        self._costs_left_out = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(one.count for one in self._of.values())

    def add(self, letter: Letter) -> None:
        """Count one."""
        outcome = letter.outcome
        one = self._of.setdefault((outcome.reason, outcome.step), _Count())
        one.count += 1
        if letter.state is State.REDRIVEN:
            self._redriven += 1
        else:
            one.cost_usd += outcome.cost_usd
            self._costs_left_out += outcome.cost_is_odd
        one.newest = max(one.newest or outcome.finished_at, outcome.finished_at)

    @property
    def lines(self) -> list[str]:
        """The table, the most frequent first, with the sum at its end."""
        rows = [
            (printable(reason), printable(step) or NONE, f"{one.count:,}", _moment(one.newest), usd(one.cost_usd))
            for (reason, step), one in sorted(self._of.items(), key=lambda item: (-item[1].count, item[0]))
        ]
        spent = sum((one.cost_usd for one in self._of.values()), Decimal(0))
        them = "it" if self.total == 1 else "them"
        whom = "those that are not redriven" if self._redriven else them
        total = f"{counted(self.total, 'dead letter')}, {usd(spent)} spent on {whom}{left_out(self._costs_left_out)}"
        return [*_aligned([_HEAD, *rows]), total] if rows else [total]


def _moment(moment: datetime | None) -> str:
    return rfc3339(moment) if moment else NONE


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
