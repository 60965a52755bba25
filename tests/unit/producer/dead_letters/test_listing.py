"""The table of `docsluice dead-letters list`."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from docsluice_producer.dead_letters.listing import Rows
from docsluice_producer.dead_letters.marks import State
from tests.fakes.dead_letters import fetched, letter

COSTS = ("0", "0.5", "0.00004365", "1234.00000043651")


def shown(*records: Any, terminal: bool = False, width: int = 160) -> list[str]:
    out = io.StringIO()
    rows = Rows(out=Console(file=out, force_terminal=terminal, width=width, soft_wrap=True), with_state=True)
    for record in records:
        rows.show(letter(record, state=State.REDRIVEN))
    return out.getvalue().splitlines()


def starts(line: str, word: str) -> int:
    """The cell of the screen at which a word begins."""
    assert word in line, line
    return cell_len(line[: line.rindex(word)])


@pytest.mark.parametrize("terminal", [False, True])
def test_columns_stay_aligned(*, terminal: bool) -> None:
    """Whatever is long in a cell: an id, a reason, a step, a sum of few cents."""
    head, *lines = shown(
        fetched(1, exception_message="MESSAGE"),
        fetched(2, key=b"an-id-of-more-than-twenty-characters", exception_message="MESSAGE"),
        fetched(3, reason="attempts_exhausted", step="a_step_with_a_long_name", exception_message="MESSAGE"),
        fetched(4, key="文書の番号が全角文字で書かれている場合".encode(), exception_message="MESSAGE"),
        *(fetched(5 + number, cost_usd=cost, exception_message="MESSAGE") for number, cost in enumerate(COSTS)),
        terminal=terminal,
    )
    assert {starts(line, "MESSAGE") for line in lines} == {starts(head, "message")}
    assert {starts(line, "redriven") for line in lines} == {starts(head, "state")}


def test_what_is_cut_ends_with_an_ellipsis() -> None:
    """And what need not be cut is whole."""
    _, line = shown(fetched(1, key=b"an-id-of-more-than-twenty-characters", reason="attempts_exhausted"))
    assert "  an-id-of-more-than-…  " in line
    assert "  attempts_exhausted  " in line
    assert "  $0.00004365  " in shown(fetched(1, cost_usd="0.00004365"))[1]


def test_a_place_is_never_cut() -> None:
    """It is what `show` is given. A longer one makes room for itself, and those after it keep to that."""
    long = fetched(1, exception_message="MESSAGE")
    long.partition, long.offset = 12, 9_000_000_000
    _, before, line, after = shown(
        fetched(2, exception_message="MESSAGE"), long, fetched(3, exception_message="MESSAGE")
    )
    assert "  12@9000000000  " in line
    assert starts(after, "MESSAGE") == starts(line, "MESSAGE") > starts(before, "MESSAGE")


def test_a_message_ends_at_the_edge_of_the_terminal() -> None:
    """With an ellipsis. A file has more of it."""
    record = fetched(1, exception_message="word " * 40)
    line = shown(record, terminal=True, width=160)[1]
    assert len(line) <= 160
    assert line.endswith("…")
    assert len(shown(record)[1]) > 160


@pytest.mark.parametrize("width", [60, 80, 100, 120, 130])
def test_a_line_fits_a_narrow_terminal(width: int) -> None:
    """Columns go, until the reason, the document, the place and a part of the message have room."""
    head, line = shown(fetched(1, exception_message="word " * 40), terminal=True, width=width)
    assert len(line) <= max(width, 66)
    assert head.split()[-1] == "message"
    assert {"reason", "document", "place"} <= {*head.split()}
    assert ("state" in head) == (width > 70)
