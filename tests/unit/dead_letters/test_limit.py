"""When dead letters are too many: in a row, or of the documents that ended last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.dead_letters.limit import JUDGED_FROM, WINDOW, DeadLetterLimit, Result

OUTCOMES = st.lists(st.booleans(), max_size=600)
"""True is a dead letter."""


def _limit(*, max_ratio: float = 1.0, max_consecutive: int = 0) -> DeadLetterLimit:
    return DeadLetterLimit(max_ratio=max_ratio, max_consecutive=max_consecutive)


def _passes(limit: DeadLetterLimit, is_dead: bool) -> bool:  # noqa: FBT001 - as it is drawn
    """Whether a document with this outcome is published."""
    if not is_dead:
        limit.result()
        return True
    limit.dead_letter("refused/summary")
    return limit.reached is None


def _passed(limit: DeadLetterLimit, count: int) -> int:
    """How many of so many dead letters in a row are published."""
    return sum(_passes(limit, is_dead=True) for _ in range(count))


@given(OUTCOMES, st.integers(1, 20))
def test_never_so_many_in_a_row_pass(outcomes: list[bool], most: int) -> None:
    """Whatever comes in between, and however often somebody lets it go on."""
    limit = _limit(max_consecutive=most)
    row = 0
    for is_dead in outcomes:
        row = row + 1 if is_dead and _passes(limit, is_dead) else 0
        if not is_dead:
            limit.result()
        assert row < most
        if limit.reached:
            limit.start_afresh()
            row = 0


@given(OUTCOMES, st.floats(0.01, 0.99))
def test_what_passes_keeps_the_ratio(outcomes: list[bool], ratio: float) -> None:
    """Of the last documents that ended, as soon as there are enough of them to judge by."""
    limit = _limit(max_ratio=ratio)
    passed: list[bool] = []
    for is_dead in outcomes:
        if not _passes(limit, is_dead):
            break
        passed.append(is_dead)
        last = passed[-WINDOW:]
        assert not is_dead or len(last) < JUDGED_FROM or sum(last) < ratio * len(last)


@given(st.lists(st.integers(2, 9), max_size=300), st.integers(2, 10))
def test_a_healthy_stream_with_a_few_failures_goes_on(results_between: list[int], most: int) -> None:
    """Every third document may fail, for ever."""
    limit = _limit(max_ratio=0.5, max_consecutive=most)
    for results in results_between:
        assert _passes(limit, is_dead=True)
        assert all(_passes(limit, is_dead=False) for _ in range(results))


@given(st.integers(1, 150), st.integers(1, 3))
def test_one_that_is_all_broken_is_stopped_at_the_same_count_each_time(most: int, times: int) -> None:
    """The one that reaches the limit is held itself. Begun afresh, or in a new process, it is the same again."""
    limit = _limit(max_ratio=0.9, max_consecutive=most)
    for _ in range(times):
        assert _passed(limit, 1_000) == min(most, JUDGED_FROM) - 1
        limit.start_afresh()
    assert _passed(_limit(max_ratio=0.9), 1_000) == JUDGED_FROM - 1


def test_once_reached_it_stays_so() -> None:
    """Results of those that were in the middle change nothing: a person has to decide."""
    limit = _limit(max_ratio=0.5, max_consecutive=3)
    assert _passed(limit, 3) == 2
    first = limit.reached
    for _ in range(2 * WINDOW):
        limit.result()
    assert not _passes(limit, is_dead=True)
    assert limit.reached is first


def test_a_ratio_that_creeps_up_is_seen() -> None:
    """Long after a good beginning, at the share of the last documents only."""
    limit = _limit(max_ratio=0.5, max_consecutive=100)
    for _ in range(10_000):
        limit.result()
    count = 0
    while limit.reached is None:
        _passes(limit, is_dead=bool(count % 4))
        count += 1
    assert (limit.reached.limit, limit.reached.dead_letters, limit.reached.ended) == ("ratio", WINDOW // 2, WINDOW)


def test_a_handful_is_not_judged_by_its_ratio() -> None:
    """The first documents of a quiet topic may all fail."""
    assert _passed(_limit(max_ratio=0.01), JUDGED_FROM - 1) == JUDGED_FROM - 1


def test_it_can_be_switched_off() -> None:
    """Each limit for itself."""
    assert _passed(_limit(), 5_000) == 5_000
    assert _passed(_limit(max_consecutive=7), 5_000) == 6
    assert _passed(_limit(max_ratio=0.5), 5_000) == JUDGED_FROM - 1


def test_a_result_that_turns_out_to_be_none_counts_once() -> None:
    """A topic that takes no result makes dead letters of all of them, though each was a result before."""
    for limit in (_limit(max_ratio=0.6), _limit(max_consecutive=JUDGED_FROM)):
        passed = 0
        while limit.reached is None:
            result = limit.result()
            limit.dead_letter("too_large", withdrawn=result)
            passed += limit.reached is None
        assert passed == JUDGED_FROM - 1


class _Plain:
    """Every document that has ended since the last fresh start, in a list: whether it is a dead letter."""

    def __init__(self) -> None:
        self.ended: list[bool] = []
        self.results: list[tuple[Result, int | None]] = []
        """Those that may still be withdrawn, with their places in the list. None when it began afresh meanwhile."""

    def row_at(self, place: int) -> int:
        """How many dead letters there are without a result between them, that one among them."""
        before = takewhile(bool, reversed(self.ended[:place]))
        after = takewhile(bool, self.ended[place:])
        return len([*before, *after])


STEPS = st.lists(st.one_of(st.sampled_from(["result", "dead"]), st.integers(0, 400)), max_size=800)
"""A number withdraws one of the results that there are."""


@given(STEPS, st.integers(1, 300))
def test_a_withdrawn_result_has_not_broken_the_row(taken: Sequence[str | int], most: int) -> None:
    """Whenever it turns out to be none, it counts as if it had been a dead letter from the beginning."""
    limit, plain = _limit(max_consecutive=most), _Plain()
    for step in taken:
        if step == "result":
            plain.results.append((limit.result(), len(plain.ended)))
            plain.ended.append(False)
            continue
        withdrawn, place = plain.results.pop(int(step) % len(plain.results)) if _is_place(step, plain) else (None, None)
        if place is None:
            place = len(plain.ended)
            plain.ended.append(True)
        plain.ended[place] = True
        limit.dead_letter("too_large", withdrawn=withdrawn)
        row = plain.row_at(place)
        assert (limit.reached.dead_letters if limit.reached else 0) == (row if row >= most else 0)
        if limit.reached:
            limit.start_afresh()
            plain.ended.clear()
            plain.results = [(result, None) for result, _ in plain.results]


def _is_place(step: str | int, plain: _Plain) -> bool:
    return step != "dead" and bool(plain.results)


@given(st.integers(0, 600), st.integers(1, 300))
def test_results_on_their_way_hide_nothing(on_their_way: int, most: int) -> None:
    """However many there are at any time: when none of them is taken, no more are published than in a row."""
    limit = _limit(max_consecutive=most)
    results = [limit.result() for _ in range(on_their_way)]
    for passed in range(most):
        assert limit.reached is None, passed
        results.append(limit.result())
        limit.dead_letter("too_large", withdrawn=results.pop(0))
    assert limit.reached is not None


def test_it_says_which_limit_and_why() -> None:
    """The commonest causes of those that count, and the setting to change."""
    limit = _limit(max_consecutive=6)
    limit.dead_letter("undecodable")
    limit.result()
    for cause in ("refused/b", "invalid_answer/a", "invalid_answer/a", "refused/b", "invalid_answer/a", "too_large"):
        assert limit.reached is None
        limit.dead_letter(cause)
    assert limit.reached is not None
    assert limit.reached.causes == {"invalid_answer/a": 3, "refused/b": 2, "too_large": 1}
    assert limit.reached.sentence == "6 dead letters in a row (DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE)"
    other = _limit(max_ratio=0.5)
    _passed(other, JUDGED_FROM)
    assert other.reached is not None
    assert other.reached.sentence == "100 dead letters among 100 documents (DOCSLUICE_DEAD_LETTER_MAX_RATIO)"


def test_the_three_commonest_causes_are_told() -> None:
    """More would bury what is to be mended first."""
    limit = _limit(max_consecutive=10)
    for cause in "aaaabbbccd":
        limit.dead_letter(cause)
    assert limit.reached is not None
    assert limit.reached.causes == {"a": 4, "b": 3, "c": 2}
