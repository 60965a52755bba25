"""Where `follow` puts what it reads."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from docsluice_producer.following.follow import Show
from docsluice_producer.following.tables import open_table
from docsluice_producer.following.tally import Tally
from tests.fakes.outcomes import Fetched, result


def showing(*, terminal: bool) -> tuple[Show, io.StringIO]:
    told = io.StringIO()
    status = Console(file=told, force_terminal=terminal, width=1_000)
    return Show(tally=Tally(), table=None, as_json=False, status=status), told


@pytest.mark.parametrize(("reader", "lines"), [("terminal", 51), ("file", 200)])
def test_a_terminal_is_not_filled_with_records_that_are_no_outcomes(reader: str, lines: int) -> None:
    """A person sees the first fifty and a word on the rest. A file gets all of them. All are counted."""
    show, told = showing(terminal=reader == "terminal")
    other = json.loads(result().model_dump_json()) | {"schema_version": 7}
    for value in (b"junk", json.dumps(other).encode()):
        for _ in range(100):
            show.record(Fetched(value=value))
    assert len(told.getvalue().splitlines()) == lines
    assert (show.tally.unreadable, show.tally.of_other_versions) == (100, 100)


def test_a_repeat_is_not_written(tmp_path: Path) -> None:
    """A file has each outcome once."""
    path = tmp_path / "out.jsonl"
    with closing(open_table(path)) as table:
        show = Show(tally=Tally(), table=table, as_json=False, status=Console(file=io.StringIO()))
        for number in (1, 2, 1):
            show.record(Fetched(value=result(number).model_dump_json().encode()))
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert show.tally.repeats == 1
