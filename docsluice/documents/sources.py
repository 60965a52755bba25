"""Finds the files to read from the command line's PATHs, each with its format and, if it is one document, its id."""

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from docsluice.documents.kinds import KINDS, SUFFIXES, Format, stem_of, suffix_of
from docsluice.documents.recognition import START_BYTES, no_text
from docsluice.errors import WrongUsage

STDIN = "-"


_NO_FILES = {
    stat.S_IFDIR: "a link to a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to read. `path` None is standard input. `document_id` is given for files that are one document.

    `relative` is the path below the folder that was named, or the bare name. `number` counts the sources from 0. A file
    `in_folder` was not named itself, so it is read only if it is a regular file.
    """

    path: Path | None
    name: str
    format: Format
    document_id: str = ""
    relative: str = ""
    number: int = 0
    in_folder: bool = False


@dataclass(slots=True, kw_only=True)
class Selection:
    """The files to read in order, and the files of the folders that are of no known kind.

    `unread` counts the latter by suffix, and `unread_names` are the first of them. `skipped` names entries that are
    called like a known kind but are no files of their folder, with what they are.
    """

    paths: tuple[str, ...] = ()
    sources: list[Source] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    unread_names: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def leave(self, path: Path) -> None:
        """Count a file of no known kind."""
        self.unread[path.suffix.lower()] += 1
        if len(self.unread_names) < _NAMED:
            self.unread_names.append(_shown(path))

    @property
    def total_bytes(self) -> int | None:
        """The bytes to read. None if unknown."""
        if any(source.path is None or not source.path.is_file() for source in self.sources):
            return None
        return self.bytes_before(len(self.sources))

    def bytes_before(self, number: int) -> int:
        """The bytes of the sources before a number."""
        return sum(source.path.stat().st_size for source in self.sources[:number] if source.path is not None)


def select(paths: Sequence[str], *, other_format: Format | None) -> Selection:
    """Find the files of the PATHs. `other_format` is the format of standard input and of other suffixes.

    A file that is named twice is read once.

    Raises:
        WrongUsage: a PATH does not exist, holds no text, or is of an unknown format.
    """
    selection = Selection(paths=tuple(paths))
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
    ids = _document_ids([one for one in found.values() if one.path is not None and KINDS[one.format].is_whole])
    selection.sources = [_source(one, ids, number) for number, one in enumerate(found.values())]
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
    file_format = SUFFIXES.get(suffix_of(path.name))
    if file_format in {None, Format.JSON}:  # a .json may hold lines
        file_format = other_format or file_format
    if file_format is None:
        if problem := no_text(_start_of(path)):
            raise WrongUsage(f"{_shown(path)}: {problem}")
        known = ", ".join(SUFFIXES)
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
    """The files of known kinds below a folder, sorted. Hidden ones are left out. The rest is noted in `selection`."""
    found: list[_Found] = []
    skipped: list[str] = []
    unread: list[Path] = []
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(place, name).is_symlink()]
        for path in (Path(place, name) for name in [*files, *links] if not name.startswith(".")):
            form = SUFFIXES.get(suffix_of(path.name), Format.TEXT if path.name in links else None)
            if form is None:
                unread.append(path)
            elif what := _no_file_of(root, path):
                skipped.append(f"{_shown(path)}: {what}")
            else:
                relative = path.relative_to(folder).as_posix()
                found.append(_Found(path=path, relative=relative, format=form, in_folder=True))
    selection.skipped += sorted(skipped)
    for path in sorted(unread):
        selection.leave(path)
    if not found:
        why = "".join(f"; {line}" for line in sorted(skipped)[:_NAMED])
        raise WrongUsage(f"{_shown(folder)}: no file of a known kind in this folder ({', '.join(SUFFIXES)}){why}")
    return sorted(found, key=lambda one: one.relative)


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
    return None if stat.S_ISREG(mode) else _NO_FILES.get(stat.S_IFMT(mode), "no regular file")


def _cannot_list(error: OSError) -> None:
    # A silently skipped folder would lose documents.
    raise WrongUsage(f"{error.filename}: cannot be listed: {error.strerror}")


def _document_ids(texts: Sequence[_Found]) -> dict[_Found, str]:
    """The shortest unique name of each file: without its suffix, with it, or the path as given."""
    names = {text: (stem_of(text.relative), text.relative, str(text.path)) for text in texts}
    ids: dict[_Found, str] = {}
    for choice in range(2):
        left = {text: name[choice] for text, name in names.items() if text not in ids}
        taken = Counter([*left.values(), *ids.values()])
        ids.update({text: name for text, name in left.items() if taken[name] == 1})
    return {text: ids.get(text, name[-1]) for text, name in names.items()}


def _source(found: _Found, ids: dict[_Found, str], number: int) -> Source:
    if found.path is None:
        return Source(path=None, name="stdin", format=found.format, document_id="stdin", number=number)
    return Source(
        path=found.path,
        name=_shown(found.path),
        format=found.format,
        document_id=ids.get(found, ""),
        relative=_text_of(found.relative),
        number=number,
        in_folder=found.in_folder,
    )


def _shown(path: Path) -> str:
    """A path for a terminal: a file name may hold unprintable bytes."""
    return _text_of(str(path))


def _text_of(name: str) -> str:
    return os.fsencode(name).decode("utf-8", errors="replace")
