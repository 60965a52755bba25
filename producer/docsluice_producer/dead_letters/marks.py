"""What was done about dead letters: a mark for each that was redriven or dropped. Pure.

Kafka can delete no single record, so what has been handled is written down beside the topic, in a topic of marks.
"""

import json
import re
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from docsluice.messages import rfc3339

_PLACE = re.compile(r"([0-9]{1,9})@([0-9]{1,18})")
_KEY = re.compile(rb"([0-9]{1,9})@([0-9]{1,18})@(-?[0-9]{1,18})")


class State(StrEnum):
    """What has become of a dead letter. The order is that of the codes that `Marks` keeps."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DROPPED = "dropped"


_STATES = tuple(State)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dead letter is in its topic. Written `partition@offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}"


def place_in(text: str) -> Place | None:
    """The place that a text names. None if it names none."""
    found = _PLACE.fullmatch(text)
    return Place(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Mark:
    """What was done about one dead letter.

    Its time is part of its name: in a recreated topic, other records have the same places.
    """

    place: Place
    timestamp_ms: int
    state: State

    @property
    def key(self) -> bytes:
        """The key of the mark's record: one for each dead letter, so that compaction keeps them all."""
        return f"{self.place}@{self.timestamp_ms}".encode()

    def value(self, *, at: datetime) -> bytes:
        """The value of the mark's record."""
        return json.dumps({"state": self.state, "at": rfc3339(at)}).encode()


class Handled(NamedTuple):
    """What was done about a dead letter, and when: the time of the mark's record, in ms."""

    state: State
    at_ms: int


class _Keyed(Protocol):
    key: bytes | None
    value: bytes | None


def mark_of(record: _Keyed) -> Mark | None:
    """The mark in a record of the topic of marks. None for any other record."""
    found = _KEY.fullmatch(record.key or b"")
    if found is None:
        return None
    try:
        state = State(json.loads(record.value or b"")["state"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Mark(Place(int(found[1]), int(found[2])), int(found[3]), state)


@dataclass(slots=True)
class _Column:
    """The marks of one partition, in the order of their offsets: 25 bytes for each."""

    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    timestamps_ms: "array[int]" = field(default_factory=lambda: array("q"))
    states: "array[int]" = field(default_factory=lambda: array("b"))
    handled_ms: "array[int]" = field(default_factory=lambda: array("q"))


class Marks:
    """All marks of a dead-letter topic, small enough for millions of them."""

    def __init__(self) -> None:
        self._columns: dict[int, _Column] = {}

    def __len__(self) -> int:
        return sum(len(column.offsets) for column in self._columns.values())

    def add(self, mark: Mark, *, at_ms: int) -> None:
        """Add a mark that was written at `at_ms`. The later one of the same place counts."""
        column = self._columns.setdefault(mark.place.partition, _Column())
        index = bisect_left(column.offsets, mark.place.offset)
        if column.offsets[index : index + 1] != array("q", [mark.place.offset]):
            column.offsets.insert(index, mark.place.offset)
            column.timestamps_ms.insert(index, 0)
            column.states.insert(index, 0)
            column.handled_ms.insert(index, 0)
        column.timestamps_ms[index] = mark.timestamp_ms
        column.states[index] = _STATES.index(mark.state)
        column.handled_ms[index] = at_ms

    def handled(self, place: Place, timestamp_ms: int) -> Handled | None:
        """What was done about the dead letter at a place and time. None while it is open."""
        column = self._columns.get(place.partition)
        if column is None:
            return None
        index = bisect_left(column.offsets, place.offset)
        if index == len(column.offsets) or column.offsets[index] != place.offset:
            return None
        if column.timestamps_ms[index] != timestamp_ms:
            return None
        return Handled(_STATES[column.states[index]], column.handled_ms[index])
