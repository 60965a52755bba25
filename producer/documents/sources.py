"""From the PATHs of the command line to the files to read, each with its format and, for texts, its document id."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from producer.documents.recognition import START_BYTES, no_text
from producer.faults import WrongUsage

STDIN = "-"


class Format(StrEnum):
    """How a file holds documents: as a whole (text), one in each row, or as a list (json)."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"
    JSON = "json"


_SUFFIXES = {
    ".txt": Format.TEXT,
    ".md": Format.TEXT,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
}
_JSON_SUFFIX = ".json"
"""It may be lines all the same, where that is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to read; `path` None is standard input. `document_id` is given for texts only."""

    path: Path | None
    name: str
    format: Format
    document_id: str = ""


@dataclass(slots=True, kw_only=True)
class Selection:
    """The files to read in order, and how many in the folders are of a kind that is not read from folders."""

    sources: list[Source] = field(default_factory=list)
    unread: int = 0

    @property
    def total_bytes(self) -> int | None:
        """How much there is to read; None when that cannot be known beforehand."""
        if any(source.path is None or not source.path.is_file() for source in self.sources):
            return None
        return sum(source.path.stat().st_size for source in self.sources if source.path is not None)


def select(paths: Sequence[str], *, other_format: Format | None) -> Selection:
    """Find what the PATHs mean. `other_format` is that of standard input and of files whose suffix does not tell.

    A file that is named twice is read once.

    Raises:
        WrongUsage: a PATH does not exist, holds no text, or is of an unknown format.
    """
    unread = 0
    found: dict[Path | None, _Found] = {}
    for given in paths:
        if given == STDIN:
            found.setdefault(None, _Found(path=None, relative=STDIN, format=other_format or Format.JSONL))
            continue
        path = Path(given)
        if path.is_dir():
            inside, ignored = _folder(path)
            unread += ignored
        else:
            inside = [_file(path, other_format)]
        for one in inside:
            found.setdefault(one.path and one.path.resolve(), one)
    ids = _document_ids([one for one in found.values() if one.path is not None and one.format is Format.TEXT])
    return Selection(sources=[_source(one, ids) for one in found.values()], unread=unread)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file as it was found: `relative` to the folder that was named, or its bare name."""

    path: Path | None
    relative: str
    format: Format


def _file(path: Path, other_format: Format | None) -> _Found:
    if not path.exists():
        raise WrongUsage(f"{_shown(path)}: no such file or folder")
    suffix = path.suffix.lower()
    file_format = _SUFFIXES.get(suffix) or other_format or (Format.JSON if suffix == _JSON_SUFFIX else None)
    if file_format is None:
        if problem := no_text(_start_of(path)):
            raise WrongUsage(f"{_shown(path)}: {problem}")
        known = ", ".join([*_SUFFIXES, _JSON_SUFFIX])
        raise WrongUsage(f"{_shown(path)}: the suffix does not tell the format (known: {known}); say it with --format")
    return _Found(path=path, relative=path.name, format=file_format)


def _start_of(path: Path) -> bytes:
    """How a file begins; nothing where it cannot be read, which is told when it is to be."""
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError:
        return b""


def _folder(folder: Path) -> tuple[list[_Found], int]:
    """The texts below a folder, sorted, and how many other files there are. Hidden ones are passed over."""
    texts: list[_Found] = []
    unread = 0
    for place, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(place, name) for name in files if not name.startswith(".")):
            if _SUFFIXES.get(path.suffix.lower()) is Format.TEXT:
                texts.append(_Found(path=path, relative=path.relative_to(folder).as_posix(), format=Format.TEXT))
            else:
                unread += 1
    if not texts:
        raise WrongUsage(f"{_shown(folder)}: no .txt or .md in this folder (name .jsonl and .csv files themselves)")
    return sorted(texts, key=lambda text: text.relative), unread


def _cannot_list(error: OSError) -> None:
    # A folder that is passed over in silence would be documents lost.
    raise WrongUsage(f"{error.filename}: cannot be listed: {error.strerror}")


def _document_ids(texts: Sequence[_Found]) -> dict[_Found, str]:
    """The shortest name that tells a text from all the others: without its suffix, with it, or the path as given."""
    names = {text: (_without_suffix(text.relative), text.relative, str(text.path)) for text in texts}
    ids: dict[_Found, str] = {}
    for choice in range(2):
        left = {text: name[choice] for text, name in names.items() if text not in ids}
        taken = Counter([*left.values(), *ids.values()])
        ids.update({text: name for text, name in left.items() if taken[name] == 1})
    return {text: ids.get(text, name[-1]) for text, name in names.items()}


def _without_suffix(relative: str) -> str:
    return relative.removesuffix(Path(relative).suffix)


def _source(found: _Found, ids: dict[_Found, str]) -> Source:
    if found.path is None:
        return Source(path=None, name="stdin", format=found.format, document_id="stdin")
    return Source(path=found.path, name=_shown(found.path), format=found.format, document_id=ids.get(found, ""))


def _shown(path: Path) -> str:
    """A file name may hold bytes that no terminal can print."""
    return os.fsencode(path).decode("utf-8", errors="replace")
