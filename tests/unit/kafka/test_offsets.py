"""How far a partition may be committed while its records end out of order, and what a later assignment knows of it."""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from itertools import accumulate, chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.kafka import offsets as offsets_module
from docsluice_consumer.kafka.offsets import (
    METADATA_CAP_BYTES,
    CommitPoint,
    ForeignMetadataError,
    Offsets,
    Run,
    UnknownMapError,
    decode,
    encode,
)
from tests.examples import examples

GAPS = st.lists(st.integers(1, 50), min_size=1, max_size=60)
START = st.integers(0, 2**62)
GOOD = encode(5, [Run(7, 10)])


def decoded(point: CommitPoint) -> list[Run]:
    """What a commit says, in a log that reaches as far as any can."""
    return decode(point, log_end=2**80)


class Life:
    """One assignment of a partition, checked against the plainest of models: the set of all records that have ended."""

    def __init__(self, records: list[int], ended: set[int], committed: CommitPoint) -> None:
        self.offsets = Offsets(decoded(committed))
        self.ended = ended
        self.unread = [offset for offset in records if offset >= committed.offset]
        self.open: set[int] = set()
        self.committed = committed

    def read(self) -> None:
        offset = self.unread.pop(0)
        if self.offsets.opened(offset):
            assert offset not in self.ended, "what has ended is never worked on again"
            self.open.add(offset)
        else:
            assert offset in self.ended, "what has not ended is never passed over"

    def passes(self, gap_end: int) -> None:
        """The client has read up to there, and found nothing but markers behind the last record."""
        self.offsets.passed(gap_end)

    def end(self, offset: int) -> None:
        self.offsets.closed(offset)
        self.open.remove(offset)
        self.ended.add(offset)

    def commit(self) -> None:
        self.committed = self.offsets.committable() or self.committed


@settings(max_examples=examples(300))
@given(gaps=GAPS, start=START, data=st.data())
def test_nothing_is_lost_and_nothing_repeated_over_crashes(gaps: list[int], start: int, data: st.DataObject) -> None:
    """Whatever the order, gaps and crashes: a commit passes no open record, and a later assignment repeats none."""
    records = [start + sum(gaps[:count]) for count in range(len(gaps))]
    state = Life(records, set(), CommitPoint(start))
    while state.unread or state.open:
        steps = ["read"] * bool(state.unread) + ["end"] * bool(state.open) + ["pass", "crash"]
        match data.draw(st.sampled_from(steps)):
            case "read":
                state.read()
            case "end":
                state.end(data.draw(st.sampled_from(sorted(state.open))))
            case "pass":
                first = state.offsets.next_offset or state.committed.offset
                state.passes(data.draw(st.integers(first, state.unread[0] if state.unread else first + 9)))
            case "crash":
                state.commit()
                state = Life(records, state.ended, state.committed)
        before = state.committed.offset
        state.commit()
        assert before <= state.committed.offset
        assert all(offset in state.ended for offset in records if offset < state.committed.offset)
        assert state.offsets.open_count == len(state.open)
    assert state.ended == set(records)
    assert state.committed.metadata == ""


@given(gaps=GAPS, start=START, data=st.data())
def test_what_a_transaction_closes_counts_as_closed(gaps: list[int], start: int, data: st.DataObject) -> None:
    """The point that a transaction commits is the one that closing its records leads to."""
    offsets = Offsets()
    records = [start + sum(gaps[:count]) for count in range(len(gaps))]
    for offset in records:
        offsets.opened(offset)
    closing = data.draw(st.sets(st.sampled_from(records)))
    foreseen = offsets.committable(closing=closing)
    for offset in closing:
        offsets.closed(offset)
    assert offsets.committable() == foreseen


RUNS = st.lists(st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)), max_size=100)


def _runs_of(offset: int, pairs: list[tuple[int, int]]) -> list[Run]:
    """Runs of which each is so far from the one before, and so long."""
    runs, end = [], offset
    for distance, length in pairs:
        runs.append(Run(end + distance, end + distance + length))
        end += distance + length
    return runs


@given(offset=START, pairs=RUNS)
def test_the_map_can_be_read_back(offset: int, pairs: list[tuple[int, int]]) -> None:
    """Encoding and decoding are each other's inverse."""
    runs = _runs_of(offset, pairs)
    assert decoded(CommitPoint(offset, encode(offset, runs))) == runs


def test_the_map_stays_under_the_cap() -> None:
    """What does not fit is left out from the top, and what is there can be read."""
    runs = [Run(start, start + 1) for start in range(1, 10_000, 2)]
    metadata = encode(0, runs)
    assert METADATA_CAP_BYTES - 5 < len(metadata.encode()) <= METADATA_CAP_BYTES
    kept = decoded(CommitPoint(0, metadata))
    assert kept == runs[: len(kept)]


def test_the_map_fills_the_cap_to_the_last_byte() -> None:
    """A run less would be repeated for nothing, and a byte more is refused by the broker."""
    runs = [Run(start, start + 1) for start in range(1, 2 * 1020, 2)]
    full = encode(0, runs[:1019])
    assert len(full) == METADATA_CAP_BYTES == 4096
    assert decoded(CommitPoint(0, full)) == runs[:1019]
    assert encode(0, runs) == full
    start, end = runs[1018]
    a_byte_more = [*runs[:1018], Run(start, end + 9), Run(end + 10, end + 11)]
    assert decoded(CommitPoint(0, encode(0, a_byte_more))) == runs[:1018]
    offsets = Offsets()
    for offset in range(2039):
        offsets.opened(offset)
    for offset in range(1, 2039, 2):
        offsets.closed(offset)
    assert offsets.committable() == CommitPoint(0, full)
    assert offsets.metadata_ratio() == 1


def test_the_ratio_tells_when_the_map_is_too_large() -> None:
    """It grows with the runs, not with the records, and passes 1 when something is left out."""
    offsets = Offsets()
    assert offsets.metadata_ratio() == 0
    for offset in range(5_000):
        offsets.opened(offset)
    for offset in range(1, 5_000):
        offsets.closed(offset)
    assert 0 < offsets.metadata_ratio() < 0.01
    for offset in range(5_000, 12_000):
        offsets.opened(offset)
    for offset in range(5_000, 12_000, 2):
        offsets.closed(offset)
    assert offsets.metadata_ratio() > 1
    offsets.closed(0)
    for offset in range(5_001, 12_000, 2):
        offsets.closed(offset)
    assert offsets.metadata_ratio() == 0


@given(
    left_behind=st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), max_size=5),
    changes=st.lists(st.tuples(st.sampled_from(["open", "close", "pass"]), st.integers(1, 10**6)), max_size=60),
    ratio=st.sampled_from([0.01, 0.02, 0.04]),
)
def test_the_map_is_measured_before_it_could_be_too_large(
    left_behind: list[tuple[int, int]], changes: list[tuple[str, int]], ratio: float
) -> None:
    """Whether it is below a ratio is answered as if it were measured each time, whatever happened between."""
    ends = list(accumulate(chain.from_iterable(left_behind), initial=100))
    offsets = Offsets([Run(*run) for run in zip(ends[1::2], ends[2::2], strict=True)])
    opened: list[int] = []
    for change, number in changes:
        following = (offsets.next_offset or 0) + number
        if change == "open" and offsets.opened(following):
            opened.append(following)
        elif change == "close" and opened:
            offsets.closed(opened.pop(number % len(opened)))
        elif change == "pass":
            offsets.passed(following)
        assert offsets.map_is_below(ratio) == (copy.deepcopy(offsets).metadata_ratio() < ratio)


def test_the_map_can_be_read_by_a_person() -> None:
    """Open and ended in turn, from the committed offset on."""
    offsets = Offsets()
    for offset in range(10, 20):
        offsets.opened(offset)
    for offset in (12, 13, 14, 17):
        offsets.closed(offset)
    assert offsets.committable() == CommitPoint(10, "docsluice/1:2+3,2+1:003451e4")


@pytest.mark.parametrize(
    "metadata",
    [
        "{}",
        "docsluice/1:",
        "docsluice/1:1+1",
        GOOD.replace("/1", "/2"),
        GOOD.replace("2+3", "0+3"),
        GOOD.replace("2+3", "2+0"),
        GOOD.replace("2+3", "2+4"),
        GOOD.replace("2+3", "2+3,"),
        GOOD.replace("2+3", "2"),
        GOOD.replace("2+3", "-2+3"),
        GOOD.replace("2+3", "٢+3"),
        GOOD.replace("2+3", "9" * 30 + "+3"),
        GOOD + " ",
        " " + GOOD,
        GOOD[:-1],
        GOOD.upper(),
    ],
)
def test_foreign_or_damaged_metadata_is_told_apart(metadata: str) -> None:
    """It is never half understood: what it calls ended would be skipped, and lost."""
    assert decoded(CommitPoint(5, GOOD))
    with pytest.raises(ForeignMetadataError):
        decoded(CommitPoint(5, metadata))


@given(
    version=st.from_regex(r"[0-9][0-9a-z.-]{0,15}", fullmatch=True).filter(lambda version: version != "1"),
    rest=st.text(max_size=50),
)
def test_a_map_of_a_later_release_is_told_apart_from_a_foreign_one(version: str, rest: str) -> None:
    """By the version alone, whatever such a map will look like. It is the roll-back that must be seen."""
    with pytest.raises(UnknownMapError, match=rf"format {re.escape(version)}; this release reads 1") as caught:
        decoded(CommitPoint(5, f"docsluice/{version}:{rest}"))
    assert caught.value.version == version


@given(st.text() | st.text().map("docsluice/".__add__) | st.text().map("docsluice/1:".__add__))
def test_any_metadata_is_a_map_or_named_as_none(metadata: str) -> None:
    """Nothing else is raised. A map of our own format that was damaged is not taken for a later one's."""
    found: ForeignMetadataError | None = None
    try:
        decoded(CommitPoint(5, metadata))
    except ForeignMetadataError as problem:
        found = problem
    assert found is not None or not metadata
    if isinstance(found, UnknownMapError):
        assert metadata.startswith(f"docsluice/{found.version}:")
        assert found.version != "1"


def test_what_is_written_can_be_read() -> None:
    """The format that is written has its reader: it had it one release before."""
    assert offsets_module._WRITTEN_VERSION in offsets_module._READERS
    assert GOOD.startswith(f"docsluice/{offsets_module._WRITTEN_VERSION}:")


@given(offset=START, other=START)
def test_a_map_belongs_to_its_offset(offset: int, other: int) -> None:
    """At another one it would tell of other records."""
    metadata = encode(offset, [Run(offset + 2, offset + 5)])
    if other != offset:
        with pytest.raises(ForeignMetadataError):
            decoded(CommitPoint(other, metadata))


@given(place=st.integers(0, len(GOOD) - 1), character=st.characters(min_codepoint=32, max_codepoint=126))
def test_no_changed_character_goes_unnoticed(place: int, character: str) -> None:
    """Not even one that leaves a map that could have been."""
    damaged = GOOD[:place] + character + GOOD[place + 1 :]
    if damaged != GOOD:
        with pytest.raises(ForeignMetadataError):
            decoded(CommitPoint(5, damaged))


def test_what_ended_before_and_was_not_read_again_is_not_forgotten() -> None:
    """A commit right after a restart hands the whole map on, though most of it has not been read again."""
    restored = CommitPoint(10, encode(10, [Run(11, 5011), Run(5013, 5016)]))
    offsets = Offsets(decoded(restored))
    assert offsets.committable() is None
    assert offsets.opened(10)
    assert offsets.committable() == restored
    assert not offsets.opened(11)
    assert offsets.committable() == restored
    offsets.closed(10)
    assert offsets.committable() == CommitPoint(5011, encode(5011, [Run(5013, 5016)]))


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
    assert offsets.is_open(5)
    offsets.closed(5)
    for not_open in (5, 6):
        assert not offsets.is_open(not_open)
        with pytest.raises(KeyError):
            offsets.closed(not_open)


def test_the_lowest_open_offset_is_found_without_a_search() -> None:
    """The first of the open records is at hand, however many have been opened and closed behind it."""
    # A plain dict would walk over the slots that it has emptied at its front, every time.
    assert isinstance(Offsets()._open, OrderedDict)


def test_a_commit_point_is_what_aiokafka_commits() -> None:
    """Offset first, metadata second, and empty metadata is a string, for the broker takes no null."""
    assert tuple(CommitPoint(7)) == (7, "")


def test_a_gap_at_the_end_is_committed_when_the_client_has_read_it() -> None:
    """Markers and aborted records have no record behind them that would show that they were passed."""
    offsets = Offsets()
    offsets.opened(4)
    offsets.passed(9)
    point = offsets.committable()
    assert point is not None
    assert (point.offset, decoded(point)) == (4, [Run(5, 9)])
    offsets.closed(4)
    assert offsets.committable() == CommitPoint(9)
    offsets.passed(6)
    assert offsets.next_offset == 9


def test_what_ended_in_an_earlier_life_is_not_left_to_do() -> None:
    """Neither for the lag, nor for what retention has taken."""
    offsets = Offsets([Run(7, 10), Run(12, 20)])
    assert offsets.unread_between(5, 15) == 4
    assert offsets.unread_between(7, 10) == 0
    assert offsets.unread_between(0, 5) == 5
    assert offsets.unread_between(6, 3) == 0
    offsets.passed(15)
    assert offsets.unread_between(15, 25) == 5


@pytest.mark.parametrize(("log_end", "is_believed"), [(9, True), (10, True), (8, False), (5, False), (0, False)])
def test_a_map_beyond_the_logs_end_is_not_believed(log_end: int, *, is_believed: bool) -> None:
    """It is another log's: records that are yet to come would be skipped in silence."""
    runs = [Run(5, 6), Run(7, 9)]
    point = CommitPoint(4, encode(4, runs))
    if is_believed:
        assert decode(point, log_end=log_end) == runs
    else:
        with pytest.raises(ForeignMetadataError, match=f"up to 8, and the log ends at {log_end}"):
            decode(point, log_end=log_end)


@given(offset=START, pairs=RUNS.filter(bool), missing=st.integers(-5, 2**41))
def test_no_record_that_is_yet_to_come_is_passed_over(offset: int, pairs: list[tuple[int, int]], missing: int) -> None:
    """Wherever the log ends: of whatever map, only what is in the log has ended."""
    point = CommitPoint(offset, encode(offset, _runs_of(offset, pairs)))
    log_end = max(0, decoded(point)[-1].end - missing)
    try:
        ended = decode(point, log_end=log_end)
    except ForeignMetadataError:
        assert missing > 0
        ended = []
    assert ended in ([], decoded(point))
    assert Offsets(ended).opened(log_end)


def test_no_map_needs_no_log() -> None:
    """A commit at the end of a log that was cut since is the reading's affair."""
    assert decode(CommitPoint(4), log_end=0) == []
