"""How far a partition may be committed while its records end out of order."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.offsets import CommitPoint, Offsets


@given(gaps=st.lists(st.integers(1, 50), min_size=1, max_size=60), start=st.integers(0, 2**62), data=st.data())
def test_nothing_open_is_ever_committed(gaps: list[int], start: int, data: st.DataObject) -> None:
    """Whatever the order and the gaps: no open record is passed, nothing goes back, and all that ended is included."""
    offsets, model, upcoming, last = Offsets(), set[int](), start, -1
    to_open = list(gaps)
    while to_open or model:
        if to_open and (not model or data.draw(st.booleans())):
            offsets.opened(upcoming)
            model.add(upcoming)
            next_offset = upcoming + 1
            upcoming += to_open.pop()
        else:
            ended = data.draw(st.sampled_from(sorted(model)))
            offsets.closed(ended)
            model.remove(ended)
        point = offsets.committable()
        assert point == CommitPoint(min(model, default=next_offset))
        assert point.offset >= last
        assert offsets.next_offset == next_offset
        assert offsets.open_count == len(model)
        last = point.offset
    assert last == next_offset


def test_nothing_read_means_nothing_to_commit() -> None:
    """A partition without records has no committable offset: committing 0 would skip nothing and claim much."""
    offsets = Offsets()
    assert offsets.committable() is None
    assert offsets.next_offset is None
    assert offsets.open_count == 0


def test_an_offset_is_opened_once() -> None:
    """Opening an offset again, or one below, is refused, for it would lose track of the first opening."""
    offsets = Offsets()
    offsets.opened(5)
    for again in (5, 4):
        with pytest.raises(ValueError, match=f"offset {again} was opened after 5"):
            offsets.opened(again)
    offsets.closed(5)
    with pytest.raises(ValueError, match="offset 5"):
        offsets.opened(5)


def test_only_an_open_offset_is_closed() -> None:
    """Closing what is not open is a bug that must be seen and not a silent commit."""
    offsets = Offsets()
    offsets.opened(5)
    offsets.closed(5)
    for not_open in (5, 6):
        with pytest.raises(KeyError):
            offsets.closed(not_open)


def test_the_lowest_open_offset_is_found_without_a_search() -> None:
    """The first of the open records is at hand, however many have been opened and closed behind it."""
    # A plain dict would walk over the slots that it has emptied at its front, every time.
    assert isinstance(Offsets()._open, OrderedDict)


def test_a_commit_point_is_what_aiokafka_commits() -> None:
    """Offset first, metadata second, and empty metadata is a string, for the broker takes no null."""
    assert tuple(CommitPoint(7)) == (7, "")
