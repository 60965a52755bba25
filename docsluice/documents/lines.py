"""A file's lines with their numbers, each of bounded length."""

from collections.abc import Iterator
from typing import IO

from docsluice.validation.record_bytes import unmarked

LINE_BYTES = 64 * 1024 * 1024
"""The longest line: four times what may be sent, because JSON may need more bytes for a character than UTF-8."""
TOO_LONG = f"longer than {LINE_BYTES // 1024**2} MiB"
_SKIP_BYTES = 1024 * 1024


def lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line). A line over the limit is cut one byte after it, and the rest is skipped.

    Only a newline ends a line. The byte order mark of the first one is dropped.
    """
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            _skip_rest(file, line)
        yield number, unmarked(line) if number == 1 else line


def _skip_rest(file: IO[bytes], line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(_SKIP_BYTES)


def not_utf8(error: UnicodeDecodeError) -> str:
    """Why bytes are no UTF-8, where, and what they most likely are."""
    problem = f"not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start + 1}"
    try:
        error.object.decode("cp1252")
    except UnicodeDecodeError:
        return problem
    return f"{problem}; if it is Windows-1252, --encoding windows-1252 reads it"
