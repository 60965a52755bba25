"""A terminal, as far as a live line needs one."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[\?25[lh]|[\r\n]|[^\x1b\r\n]+")


def screen(written: str) -> list[str]:
    """The lines that stand on a terminal once all this was written to it."""
    lines, row, column = [""], 0, 0
    for found in _CONTROL.finditer(written):
        part, count, command = found[0], found[1], found[2]
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif command == "A":
            row = max(0, row - int(count or 1))
        elif command == "K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]
