"""Texts beside their labels, as a terminal shows them. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from docsluice.text.printable import printable_lines

GUTTER = 12
"""The width of the labels."""
MOST_LINES = 12
"""How much is shown of a long text."""


def block(label: str, text: str, *, width: int, most: int | None = None) -> Iterator[str]:
    """The text in lines beside its label, broken at the terminal's width. At most so many lines of it."""
    room = max(20, width - GUTTER)
    lines = [
        piece
        for line in printable_lines(text)
        for piece in textwrap.wrap(line, room, break_on_hyphens=False, replace_whitespace=False) or [""]
    ]
    if most is not None and len(lines) > most:
        lines = [*lines[:most], f"… ({len(text):,} characters; --whole shows all)"]
    head = label if len(label) < GUTTER else f"{label}\n{'':{GUTTER}}"
    for number, line in enumerate(lines or [""]):
        yield f"{head if number == 0 else '':{GUTTER}}{line}".rstrip()


def parameters_line(parameters: Mapping[str, Any]) -> str:
    """The parameters of a call in a line. The schema, which is long, comes in a line of its own."""
    given = {name: value for name, value in parameters.items() if name != "response_format"}
    said = [f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in given.items()]
    form = parameters.get("response_format")
    return "\n".join([", ".join(said), *(_format_lines(form) if form else ["no response_format"])]).strip()


def _format_lines(form: dict[str, Any]) -> Iterator[str]:
    named = form.get("json_schema")
    if named is None:
        yield str(form.get("type"))
        return
    strict = ", strict" if named.get("strict") else ""
    yield f"json_schema{strict}: {json.dumps(named['schema'], ensure_ascii=False)}"
