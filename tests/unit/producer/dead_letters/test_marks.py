"""What was done about dead letters, written down and read again."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_producer.dead_letters.marks import Mark, Marks, Place, State, mark_of, place_in
from tests.fakes.outcomes import Fetched

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MARKS = st.builds(
    Mark,
    st.builds(Place, st.integers(0, 3), st.integers(0, 30)),
    st.integers(-1, 2),
    st.sampled_from([State.REDRIVEN, State.DROPPED]),
)


@given(MARKS)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    """Key and value of a record say all that there is in a mark."""
    assert mark_of(Fetched(key=mark.key, value=mark.value(at=NOW))) == mark


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b'{"state": "dropped"}'),
        (b"0@1", b'{"state": "dropped"}'),
        (b"0@1@x", b'{"state": "dropped"}'),
        (b"0@1@2", None),
        (b"0@1@2", b"junk"),
        (b"0@1@2", b"[" * 100_000),
        (b"0@1@2", b"[]"),
        (b"0@1@2", b"{}"),
        (b"0@1@2", b'{"state": "eaten"}'),
    ],
)
def test_anything_else_is_no_mark(key: bytes | None, value: bytes | None) -> None:
    """What somebody else has put into the topic of marks is skipped."""
    assert mark_of(Fetched(key=key, value=value)) is None


@given(st.lists(st.tuples(MARKS, st.integers(0, 2**50)), max_size=60))
def test_the_last_mark_of_a_place_counts(marks: list[tuple[Mark, int]]) -> None:
    """In whatever order they come, and only for the record that was written at that time."""
    kept = Marks()
    last: dict[Place, tuple[Mark, int]] = {}
    for mark, at_ms in marks:
        kept.add(mark, at_ms=at_ms)
        last[mark.place] = mark, at_ms
    assert len(kept) == len(last)
    for place, (mark, at_ms) in last.items():
        assert kept.handled(place, mark.timestamp_ms) == (mark.state, at_ms)
        assert kept.handled(place, mark.timestamp_ms + 1) is None
        assert kept.handled(Place(place.partition, 31), mark.timestamp_ms) is None


def test_many_marks_take_little_memory() -> None:
    """Of twenty thousand marks no more is kept than their numbers."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        marks = Marks()
        for offset in range(20_000):
            marks.add(Mark(Place(offset % 4, offset), offset, State.REDRIVEN), at_ms=offset)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(marks) == 20_000
    assert after - before < 600_000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0@17", Place(0, 17)),
        ("12@9000000000", Place(12, 9_000_000_000)),
        ("mail-17", None),
        ("me@example.com", None),
        ("1@", None),
        ("1@-2", None),
        ("1@2@3", None),
    ],
)
def test_a_place_is_told_from_an_id(text: str, place: Place | None) -> None:
    """Only `partition@offset` is a place."""
    assert place_in(text) == place
    assert place is None or str(place) == text
