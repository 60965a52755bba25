"""Text files that are safe to look at, and what is wrong with them in our words."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from docsluice_producer.command_line.numbers import harmless_json
from docsluice_producer.errors import NotWritten


def json_text(fields: Mapping[str, Any]) -> str:
    """One line of JSON that is safe for a terminal: controls and direction marks are escaped."""
    return harmless_json(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))


def opened(path: Path | int, mode: Literal["r", "w", "a"]) -> IO[str]:
    """Open a text file. Half of a surrogate pair, which UTF-8 cannot hold, is written as JSON's escape."""
    return open(path, mode, encoding="utf-8", errors="backslashreplace", newline="")  # noqa: PTH123 - it may be a descriptor


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise `NotWritten` if the block meets an error of the system."""
    try:
        yield
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written: {error.strerror}") from error
