"""How far a sending has come, as it is written beside its documents, and whether that still fits the files. Pure."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docsluice.documents.rows import BEGINNING, Position
from docsluice.documents.sources import Source
from docsluice_producer.errors import WrongUsage

SUFFIX = ".sent"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPlace:
    """A sending has sent everything up to `position`, `sent` documents in all its runs.

    `files` is the fingerprint of the files up to that position, see `Files`.
    """

    position: Position = BEGINNING
    sent: int = 0
    files: str = ""

    def value(self) -> bytes:
        """The place as JSON."""
        source, entry = self.position.source, self.position.entry
        written = {"version": _VERSION, "source": source, "entry": entry, "sent": self.sent, "files": self.files}
        return json.dumps(written).encode()


def place_of(value: bytes | None) -> SentPlace | None:
    """Read what `SentPlace.value` has written. None for anything else."""
    try:
        found: Any = json.loads(value or b"")
        position = Position(int(found["source"]), int(found["entry"]))
        if found["version"] != _VERSION:
            return None
        return SentPlace(position=position, sent=int(found["sent"]), files=str(found["files"]))
    except (ValueError, TypeError, KeyError):
        return None


def key_of(paths: Sequence[str]) -> str:
    """The name of a sending: the same for the same PATHs in the same order, from whatever folder."""
    real = json.dumps([os.path.realpath(path) for path in paths])
    return hashlib.sha256(real.encode()).hexdigest()[:16]


class Files:
    """The fingerprints of a sending's files: of the first so many together, by name, size and time of change."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._known: list[str] = []

    def fingerprint(self, number: int) -> str:
        """That of the files up to a number, which is included."""
        while len(self._known) <= number:
            path = self._sources[len(self._known)].path
            before = self._known[-1] if self._known else ""
            self._known.append(hashlib.sha256(f"{before}\n{_facts(path)}".encode()).hexdigest()[:32])
        return self._known[number]

    def check(self, place: SentPlace) -> None:
        """Make sure that what was sent up to a place is still what is there.

        Raises:
            WrongUsage: the files have changed since, so nobody knows which documents are sent.
        """
        number = place.position.source
        if number >= len(self._sources) or self.fingerprint(number) != place.files:
            raise WrongUsage(
                f"{place.sent:,} documents were sent with --resume, and the files that they were in have changed since,"
                " or others are before them: send without --resume, with --if-changed for what has no result yet"
            )


def _facts(path: Path | None) -> str:
    if path is None:
        return ""
    about = path.stat()
    return ascii([os.path.realpath(path), about.st_size, about.st_mtime_ns])
