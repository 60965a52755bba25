"""A loop that hangs is told of, with the place, and a process that was stopped is not blamed for it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import pytest
import structlog

from docsluice_consumer.telemetry.loop_watch import Hangs, LongestLag, LoopWatch


def test_the_longest_lag_is_kept_for_a_minute_or_two() -> None:
    """So that it is seen however seldom somebody looks. Then it is over."""
    lag = LongestLag()
    lag.note(0.2, now=1000.0)
    lag.note(3.0, now=1001.0)
    lag.note(0.1, now=1002.0)
    assert lag.seconds(now=1003.0) == 3.0
    assert lag.seconds(now=1062.0) == 3.0
    lag.note(0.5, now=1063.0)
    assert lag.seconds(now=1110.0) == 3.0
    assert lag.seconds(now=1125.0) == 0.5
    assert lag.seconds(now=1300.0) == 0.0


def _looked(*looks: tuple[float, float, float]) -> list[float | None]:
    """What is told at each look: when the last beat was, the time, and the CPU time used so far."""
    hangs = Hangs(now=0.0, cpu=0.0)
    return [hangs.overdue_seconds(beat_at=beat_at, now=now, cpu=cpu) for beat_at, now, cpu in looks]


def test_a_hang_is_told_once() -> None:
    """And the next one again."""
    first = [(1.0, 1.25, 0.1), (1.0, 1.9, 0.1), (1.0, 2.15, 0.1), (1.0, 2.4, 0.1), (1.0, 9.0, 0.1)]
    assert _looked(*first) == [None, None, pytest.approx(1.15), None, None]
    assert _looked(*first, (9.1, 9.2, 0.1), (9.1, 9.9, 0.1), (9.1, 10.4, 0.2))[-1] == pytest.approx(1.3)


def test_a_loop_that_is_a_little_late_is_no_hang() -> None:
    """A second is what a busy processor may take."""
    assert _looked((1.0, 1.25, 0.2), (1.0, 1.95, 0.3), (1.96, 2.2, 0.4)) == [None, None, None]


def test_a_process_that_was_stopped_has_not_hung() -> None:
    """The watch came late itself, and no CPU was used. What comes after it counts as ever."""
    told = _looked((1.0, 1.1, 0.1), (1.0, 60.0, 0.1), (60.1, 60.3, 0.1), (60.1, 60.9, 0.1), (60.1, 61.2, 0.1))
    assert told == [None, None, None, None, pytest.approx(1.1)]


def test_one_long_call_of_c_is_a_hang() -> None:
    """It keeps the watch waiting, too, and the processor busy."""
    assert _looked((1.0, 1.1, 0.1), (1.0, 5.0, 3.9)) == [None, pytest.approx(4.0)]


@pytest.fixture
async def watch() -> LoopWatch:
    return LoopWatch()


def _blocked_until(told: Callable[[], object]) -> None:
    """Hold the loop up until the watch has said so."""
    while not told():
        time.sleep(0.01)


async def test_where_it_hangs_is_logged(watch: LoopWatch) -> None:
    """Once, by file, line and function, the innermost first, and the gauge shows for how long."""
    with structlog.testing.capture_logs() as logged:
        watch.start()
        await asyncio.sleep(0)
        _blocked_until(lambda: logged)
        lag = watch.longest_lag_seconds()
        await asyncio.sleep(0.01)
        watch.close()
    (line,) = logged
    assert line["event"] == "loop.blocked"
    assert line["seconds"] >= 1
    assert any(re.fullmatch(r"unit/telemetry/test_loop_watch.py:\d+ _blocked_until", place) for place in line["where"])
    assert lag >= line["seconds"] - 0.2
    assert watch.longest_lag_seconds() >= line["seconds"] - 0.2


async def test_a_loop_that_turns_is_not_told_of(watch: LoopWatch) -> None:
    """Its watch ends with it."""
    with structlog.testing.capture_logs() as logged:
        watch.start()
        for _ in range(5):
            await asyncio.sleep(0.05)
        watch.close()
    assert logged == []


async def test_a_watch_that_never_began_can_be_closed(watch: LoopWatch) -> None:
    """As where the start fails before it."""
    watch.close()
    assert watch.longest_lag_seconds() == 0.0
