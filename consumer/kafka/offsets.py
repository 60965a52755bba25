"""Which records of one partition are open, and how far it may be committed. Pure.

Records end out of order. The committable offset is the lowest one still open or, when none is, one past the highest
that was opened: everything below it has ended. Only offsets that were really read are known here, so gaps (compaction,
transaction markers) need no care.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class CommitPoint(NamedTuple):
    """What is committed for one partition. `metadata` has room for the records that ended above `offset`."""

    offset: int
    metadata: str = ""


class Offsets:
    """The open records of one partition, in one life of its assignment."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, None] = OrderedDict()  # in offset order, for that is how they are opened
        self._next_offset: int | None = None

    def opened(self, offset: int) -> None:
        """A record was read and is being worked on.

        Raises:
            ValueError: offsets must rise; a second opening would lose track of the first.
        """
        if self._next_offset is not None and offset < self._next_offset:
            raise ValueError(f"offset {offset} was opened after {self._next_offset - 1}")
        self._open[offset] = None
        self._next_offset = offset + 1

    def closed(self, offset: int) -> None:
        """A record has ended.

        Raises:
            KeyError: it is not open.
        """
        del self._open[offset]

    def committable(self) -> CommitPoint | None:
        """How far this partition may be committed; None while nothing was read."""
        if self._open:
            return CommitPoint(next(iter(self._open)))
        return None if self._next_offset is None else CommitPoint(self._next_offset)

    @property
    def next_offset(self) -> int | None:
        """The offset to read next; None while nothing was read."""
        return self._next_offset

    @property
    def open_count(self) -> int:
        """How many records are open."""
        return len(self._open)
