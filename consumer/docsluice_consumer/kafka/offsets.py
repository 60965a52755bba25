"""Which records of one partition are open, and how far it may be committed. Pure.

Records end out of order. The committable offset is the lowest one still open. If none is open, it is one past the
highest that was opened. Everything below it has ended. What has ended above it goes into the commit's metadata, so that
it is skipped after a crash. Only offsets that were really read are opened. No record will ever come for a gap
(compaction, transaction markers, aborted transactions), so a gap counts as ended. A gap at the end of the log has no
record behind it. `passed` says how far the reading has come.

The metadata reads `docsluice/1:3+5000,1+20:7d3e09ab`: from the committed offset on, 3 open offsets, 5,000 ended, 1
open, 20 ended. Everything after that is open or unread. The checksum covers the runs and the offset. A damaged map, or
one of another offset, would skip records that have not ended.

The digit is the format's version. A format is read one release before it is written (`_READERS`), so a release can be
rolled back by one. An unknown version is told apart from foreign metadata.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

METADATA_CAP_BYTES = 4_096
"""A broker's default cap (`offset.metadata.max.bytes`)."""

_WRITTEN_VERSION = "1"
_PREFIX = f"docsluice/{_WRITTEN_VERSION}:"
_VERSION = re.compile(r"docsluice/([0-9][0-9a-z.-]{0,15}):")
_RUN = r"[1-9][0-9]{0,18}\+[1-9][0-9]{0,18}"
_MAP_OF_1 = re.compile(rf"({_RUN}(?:,{_RUN})*):([0-9a-f]{{8}})")
_CHECKSUM_BYTES = 9
_MOST_RUN_BYTES = 40
"""Of a run as it is written: two numbers of up to 19 digits. Each change below adds at most one run to the map."""


class Run(NamedTuple):
    """Offsets from `start` up to `end`, without `end`."""

    start: int
    end: int


class CommitPoint(NamedTuple):
    """What is committed for one partition. `metadata` tells which records have ended above `offset`."""

    offset: int
    metadata: str = ""


class ForeignMetadataError(ValueError):
    """Commit metadata that is not ours, or was damaged."""


class UnknownMapError(ForeignMetadataError):
    """A commit map in a format that this release does not know: a later release has written it."""

    def __init__(self, version: str) -> None:
        super().__init__(f"a map of ended records in format {version}; this release reads {', '.join(_READERS)}")
        self.version = version


class Offsets:
    """The open records of one partition, in one assignment of it.

    `ended_before` are the runs that an earlier assignment has left behind (see `decode`).
    """

    def __init__(self, ended_before: Sequence[Run] = ()) -> None:
        self._open: OrderedDict[int, None] = OrderedDict()  # in offset order, for that is how they are opened
        self._next_offset: int | None = None
        self._ended_before = list(ended_before)
        self._map_bytes = METADATA_CAP_BYTES  # when it was last measured; not yet
        self._changes = 0  # since then

    def opened(self, offset: int) -> bool:
        """Note a record that was read.

        Returns False if it has ended in an earlier assignment, so there is nothing to do.

        Raises:
            ValueError: offsets must rise. A second opening would lose the first.
        """
        if self._next_offset is not None and offset < self._next_offset:
            raise ValueError(f"offset {offset} was opened after {self._next_offset - 1}")
        self._next_offset = offset + 1
        self._changes += 1
        while self._ended_before and self._ended_before[0].end <= offset:
            self._ended_before.pop(0)
        if self._ended_before and self._ended_before[0].start <= offset:
            return False
        self._open[offset] = None
        return True

    def passed(self, offset: int) -> None:
        """Note that no more records below `offset` will come: only gaps follow the last one that was read."""
        if self._next_offset is None or offset > self._next_offset:
            self._next_offset = offset
            self._changes += 1
        while self._ended_before and self._ended_before[0].end <= offset:
            self._ended_before.pop(0)

    def unread_between(self, start: int, end: int) -> int:
        """Count the offsets that have not ended in an earlier assignment."""
        ended = sum(max(0, min(run.end, end) - max(run.start, start)) for run in self._ended_before)
        return max(0, end - start - ended)

    def closed(self, offset: int) -> None:
        """Note that a record has ended.

        Raises:
            KeyError: it is not open.
        """
        del self._open[offset]
        self._changes += 1

    def is_open(self, offset: int) -> bool:
        """Whether a record was opened and has not ended."""
        return offset in self._open

    def committable(self, *, closing: Collection[int] = ()) -> CommitPoint | None:
        """How far this partition may be committed. None before the first record.

        `closing` are open records that will have ended when the commit is done, as in a transaction.
        """
        if self._next_offset is None:
            return None
        still_open = [offset for offset in self._open if offset not in closing] if closing else list(self._open)
        ended = list(self._ended_runs(still_open, self._next_offset))
        watermark = still_open[0] if still_open else self._next_offset
        while ended and ended[0].start <= watermark:
            watermark = max(watermark, ended.pop(0).end)
        return CommitPoint(watermark, encode(watermark, ended))

    def metadata_ratio(self) -> float:
        """The map's size divided by the metadata's cap. Above 1 it no longer holds all that has ended."""
        if self._next_offset is None:
            return 0.0
        lowest = next(iter(self._open), self._next_offset)
        written = _written(lowest, self._ended_runs(list(self._open), self._next_offset))
        self._map_bytes = len(_PREFIX) + len(written) + _CHECKSUM_BYTES if written else 0
        self._changes = 0
        return self._map_bytes / METADATA_CAP_BYTES

    def map_is_below(self, ratio: float) -> bool:
        """Whether `metadata_ratio` is. The map is measured only if what has changed since the last time may matter."""
        most_bytes = self._map_bytes + self._changes * _MOST_RUN_BYTES
        return most_bytes < ratio * METADATA_CAP_BYTES or self.metadata_ratio() < ratio

    @property
    def next_offset(self) -> int | None:
        """The offset to read next. None before the first record."""
        return self._next_offset

    @property
    def open_count(self) -> int:
        """How many records are open."""
        return len(self._open)

    def _ended_runs(self, still_open: Sequence[int], next_offset: int) -> Iterator[Run]:
        """What has ended above the lowest open record, in order, read now or known from an earlier assignment."""
        between = (Run(low + 1, high) for low, high in pairwise([*still_open, next_offset]) if high > low + 1)
        left_behind = (Run(max(start, next_offset), end) for start, end in self._ended_before if end > next_offset)
        return _joined(chain(between, left_behind))


def encode(offset: int, ended: Iterable[Run]) -> str:
    """Metadata for a commit at `offset` with these runs above it: rising, apart from one another, never at `offset`.

    Runs that do not fit under the cap are left out, the highest first. Their records would then be repeated.
    """
    runs = _written(offset, ended)
    room = METADATA_CAP_BYTES - len(_PREFIX) - _CHECKSUM_BYTES
    if len(runs) > room:
        runs = runs[: runs.rindex(",", 0, room + 1)]
    return f"{_PREFIX}{runs}:{_checksum(offset, runs)}" if runs else ""


def decode(point: CommitPoint, *, log_end: int) -> list[Run]:
    """The ended runs above the offset, as a commit says. Empty without metadata.

    `log_end` is up to where the log can be read. A map that reaches beyond it belongs to another log, and would skip
    new records.

    Raises:
        UnknownMapError: it is of a later release.
        ForeignMetadataError: the metadata is not ours, or was damaged, or is of another log.
    """
    runs = _runs(point)
    if runs and runs[-1].end > log_end:
        raise ForeignMetadataError(f"a map of ended records up to {runs[-1].end - 1}, and the log ends at {log_end}")
    return runs


def _runs(point: CommitPoint) -> list[Run]:
    if not point.metadata:
        return []
    said = _VERSION.match(point.metadata)
    if said is None:
        raise ForeignMetadataError("not the map of ended records that docsluice writes")
    read = _READERS.get(said[1])
    if read is None:
        raise UnknownMapError(said[1])
    return read(point.offset, point.metadata[said.end() :])


def _runs_of_1(offset: int, written: str) -> list[Run]:
    said = _MAP_OF_1.fullmatch(written)
    if said is None or said[2] != _checksum(offset, said[1]):
        raise ForeignMetadataError("a map of ended records that was damaged, or is another offset's")
    runs, end = [], offset
    for distance, length in (pair.split("+") for pair in said[1].split(",")):
        start = end + int(distance)
        end = start + int(length)
        runs.append(Run(start, end))
    return runs


_READERS: Mapping[str, Callable[[int, str], list[Run]]] = {"1": _runs_of_1}
"""Readers by version. A new format gets its reader in one release, and becomes `_WRITTEN_VERSION` in the next."""


def _written(offset: int, ended: Iterable[Run]) -> str:
    pairs, end = [], offset
    for run in ended:
        pairs.append(f"{run.start - end}+{run.end - run.start}")
        end = run.end
    return ",".join(pairs)


def _checksum(offset: int, runs: str) -> str:
    return f"{zlib.crc32(f'{offset}:{runs}'.encode()):08x}"


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """The same offsets, with touching runs joined."""
    last: Run | None = None
    for run in runs:
        if last is not None and run.start <= last.end:
            last = Run(last.start, run.end)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last
