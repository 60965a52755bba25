"""Finds the files to read from the command line's PATHs, each with its format and, for texts, its document id."""

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from docsluice_producer.documents.recognition import START_BYTES, no_text
from docsluice_producer.errors import WrongUsage

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
    ".tsv": Format.CSV,
}
_KINDS = {
    stat.S_IFDIR: "a link to a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NAMED = 3
_JSON_SUFFIX = ".json"
"""It may hold lines, with `--format`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to read. `path` None is standard input. `document_id` is given for texts only.

    A file `in_folder` was not named itself, so it is read only if it is a regular file.
    """

    path: Path | None
    name: str
    format: Format
    document_id: str = ""
    in_folder: bool = False


@dataclass(slots=True, kw_only=True)
class Selection:
    """The files to read in order, and how many files of the folders are of other kinds.

    `skipped` names entries that are called like a text but are no files of their folder, with what they are.
    """

    sources: list[Source] = field(default_factory=list)
    unread: int = 0
    skipped: list[str] = field(default_factory=list)

    @property
    def total_bytes(self) -> int | None:
        """The bytes to read. None if unknown."""
        if any(source.path is None or not source.path.is_file() for source in self.sources):
            return None
        return sum(source.path.stat().st_size for source in self.sources if source.path is not None)


def select(paths: Sequence[str], *, other_format: Format | None) -> Selection:
    """Find the files of the PATHs. `other_format` is the format of standard input and of other suffixes.

    A file that is named twice is read once.

    Raises:
        WrongUsage: a PATH does not exist, holds no text, or is of an unknown format.
    """
    selection = Selection()
    found: dict[str | None, _Found] = {}
    for given in paths:
        if given == STDIN:
            found.setdefault(None, _Found(path=None, relative=STDIN, format=other_format or Format.JSONL))
            continue
        if not given:
            raise WrongUsage("'' is no path; the current folder is .")
        try:
            inside = _meant(Path(given), other_format, selection)
        except OSError as error:
            raise WrongUsage(f"{_shown(Path(given))}: cannot be read: {error.strerror}") from error
        for one in inside:
            found.setdefault(os.path.realpath(one.path) if one.path else None, one)
    ids = _document_ids([one for one in found.values() if one.path is not None and one.format is Format.TEXT])
    selection.sources = [_source(one, ids) for one in found.values()]
    return selection


def _meant(path: Path, other_format: Format | None, selection: Selection) -> list["_Found"]:
    return _folder(path, selection) if path.is_dir() else [_file(path, other_format)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file as it was found: `relative` to the folder that was named, or its bare name."""

    path: Path | None
    relative: str
    format: Format
    in_folder: bool = False


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
    """A file's beginning. Empty if it cannot be read, which is reported when it is read."""
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError:
        return b""


def _folder(folder: Path, selection: Selection) -> list[_Found]:
    """The texts below a folder, sorted. Hidden ones are skipped. The rest is noted in `selection`."""
    texts: list[_Found] = []
    skipped: list[str] = []
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(place, name).is_symlink()]
        for path in (Path(place, name) for name in [*files, *links] if not name.startswith(".")):
            if _SUFFIXES.get(path.suffix.lower()) is not Format.TEXT and path.name not in links:
                selection.unread += 1
            elif what := _no_file_of(root, path):
                skipped.append(f"{_shown(path)}: {what}")
            else:
                relative = path.relative_to(folder).as_posix()
                texts.append(_Found(path=path, relative=relative, format=Format.TEXT, in_folder=True))
    selection.skipped += sorted(skipped)
    if not texts:
        why = "".join(f"; {line}" for line in sorted(skipped)[:_NAMED])
        raise WrongUsage(
            f"{_shown(folder)}: no .txt or .md in this folder (name .jsonl and .csv files themselves){why}"
        )
    return sorted(texts, key=lambda text: text.relative)


def _no_file_of(root: str, path: Path) -> str | None:
    """What an entry is, if it is neither a regular file below the folder nor a link to one.

    A broken link is reported when it is read, because it may be a missing document.
    """
    if path.is_symlink() and os.path.commonpath([root, os.path.realpath(path)]) != root:
        return "a link out of the folder"
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def _cannot_list(error: OSError) -> None:
    # A silently skipped folder would lose documents.
    raise WrongUsage(f"{error.filename}: cannot be listed: {error.strerror}")


def _document_ids(texts: Sequence[_Found]) -> dict[_Found, str]:
    """The shortest unique name of each text: without its suffix, with it, or the path as given."""
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
    return Source(
        path=found.path,
        name=_shown(found.path),
        format=found.format,
        document_id=ids.get(found, ""),
        in_folder=found.in_folder,
    )


def _shown(path: Path) -> str:
    """A path for a terminal: a file name may hold unprintable bytes."""
    return os.fsencode(path).decode("utf-8", errors="replace")
