"""A function as a command: its docstring is the page of `--help`, from the first example to the exit codes."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from cyclopts import App, Parameter

from docsluice.cli.help_layout import WIDEST

USUAL_EXIT_CODES = {0: "done", 1: "a fault", 2: "wrong usage"}


def command(function: Callable[..., int], *, name: str, exit_codes: Mapping[Any, str] = USUAL_EXIT_CODES) -> App:
    """Make a command of a function that returns its exit code. The docstring's `Args:` are the words on its flags."""
    page = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:")[0].strip()
    width = min(shutil.get_terminal_size().columns, WIDEST)
    meanings = "\n".join(
        textwrap.fill(meaning, width, initial_indent=f"  {code:<4d}", subsequent_indent=" " * 6)
        for code, meaning in exit_codes.items()
    )
    return App(
        name=name,
        # Lines of a paragraph are broken for us here, and anew for the reader's terminal.
        help=re.sub(r"(?<=[^\n])\n(?=[^\s$])", " ", page),
        help_epilogue=f"exit codes:\n{meanings}",
        default_command=function,
        default_parameter=Parameter(negative=(), allow_repeating=True, show_default=_shown),
    )


def _shown(default: Any) -> Any:
    """A default as `--help` shows it. Of a flag without a value it is plain, and nothing is shown."""
    return f"{default:g}" if isinstance(default, float) else default or None
