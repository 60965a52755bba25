"""How `--help` looks: names in one column, words in another, the same on a terminal and in a pipe."""

from __future__ import annotations

import textwrap

from cyclopts.help import HelpEntry, HelpPanel
from cyclopts.help.formatters import PlainFormatter
from rich.console import Console, ConsoleOptions
from rich.text import Text

_INDENT = "  "
_WORDS_AT = 24
WIDEST = 110


class HelpLayout(PlainFormatter):
    """A group at a time. Cyclopts' own boxes break the names of our longer flags apart."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a group under its title."""
        if not panel.entries:
            return
        console.print(Text(f"{panel.title}:", style="bold"))
        for entry in panel.entries:
            console.print(Text(_lines(entry, min(options.max_width, WIDEST))), soft_wrap=True)
        console.print()


def _lines(entry: HelpEntry, width: int) -> str:
    names = _INDENT + " ".join(entry.display_labels_with_metavar)
    margin = " " * _WORDS_AT
    wrapped = textwrap.wrap(_words(entry), max(width - _WORDS_AT, _WORDS_AT), break_on_hyphens=False)
    words = "\n".join(margin + line for line in wrapped)
    # A name that is too long for its column has a line of its own.
    return f"{names:<{_WORDS_AT}}{words.lstrip()}" if len(names) + 2 <= _WORDS_AT else f"{names}\n{words}"


def _words(entry: HelpEntry) -> str:
    words = [str(getattr(entry.description, "primary_renderable", entry.description) or "")]
    words += [f"[choices: {', '.join(entry.choices)}]"] if entry.choices else []
    words += [f"[default: {entry.default}]"] if entry.default is not None else []
    words += ["[required]"] if entry.required else []
    return " ".join(words)
