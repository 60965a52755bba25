"""Rows of cells as a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from docsluice.text.printable import harmless


def print_table(rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print them. The first row is the head. With a title, lines divide the rows."""
    head, *body = rows
    table = Table(title=harmless(title) or None, title_justify="left", show_lines=bool(title))
    for name in head:
        table.add_column(harmless(name), overflow="fold")
    for row in body:
        table.add_row(*map(harmless, row))
    Console(markup=False, highlight=False).print(table)
