"""Watches the event loop: how late its own timer comes, and where the loop hangs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from pathlib import PurePath
from types import FrameType

import structlog

from docsluice_consumer.telemetry.logs import Throttle

log = structlog.get_logger(__name__)

_BEAT_SECONDS = 0.1
_LOOK_SECONDS = 0.25
_BLOCKED_SECONDS = 1.0
"""A timer this late means that something does not give the loop back."""
_WINDOW_SECONDS = 60.0
_SAID_SECONDS = 60.0
_FRAMES = 12
"""How many of the innermost frames are logged. Outer ones are the loop itself."""


class LongestLag:
    """The longest lag of the last one or two minutes. Pure: time is passed in."""

    def __init__(self) -> None:
        self._began_at = 0.0
        self._before = self._longest = 0.0

    def note(self, seconds: float, *, now: float) -> None:
        """Take one lag into account."""
        self._turn(now)
        self._longest = max(self._longest, seconds)

    def seconds(self, *, now: float) -> float:
        """The longest of those noted."""
        self._turn(now)
        return max(self._before, self._longest)

    def _turn(self, now: float) -> None:
        age = now - self._began_at
        if age >= _WINDOW_SECONDS:
            self._before = self._longest if age < 2 * _WINDOW_SECONDS else 0.0
            self._longest, self._began_at = 0.0, now


class Hangs:
    """Tells when a beat is overdue, once for each hang. Pure: both clocks are passed in."""

    def __init__(self, *, now: float, cpu: float) -> None:
        self._looked_at, self._cpu = now, cpu
        self._excused_at = now
        self._told_of: float | None = None

    def overdue_seconds(self, *, beat_at: float, now: float, cpu: float) -> float | None:
        """For how long there was no beat, if that should be logged now.

        If the watch itself came late and the processor was idle, the whole process was stopped or starved. A single
        call of C that blocks the loop keeps the watch waiting too, but uses the processor.
        """
        since, used = now - self._looked_at, cpu - self._cpu
        self._looked_at, self._cpu = now, cpu
        if since > _LOOK_SECONDS + _BLOCKED_SECONDS and used < since / 2:
            self._excused_at = now
        overdue = now - max(beat_at, self._excused_at)
        if overdue < _BLOCKED_SECONDS or self._told_of == beat_at:
            return None
        self._told_of = beat_at
        return overdue


class LoopWatch:
    """A timer in the loop, and a thread that checks whether it still comes."""

    def __init__(self) -> None:
        self._lag = LongestLag()
        self._beat_at = self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch the running loop. Its thread is the one that calls this."""
        self._expect()
        self._thread = threading.Thread(
            target=self._look, args=(threading.get_ident(),), name="loop-watch", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop the timer and the thread."""
        self._closed.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()

    def longest_lag_seconds(self) -> float:
        """The longest lag of the timer in the last one or two minutes, the present beat included."""
        now = time.monotonic()
        return max(self._lag.seconds(now=now), now - self._due_at if self._timer else 0.0)

    def _beat(self) -> None:
        now = time.monotonic()
        self._lag.note(now - self._due_at, now=now)
        self._expect()

    def _expect(self) -> None:
        self._beat_at = time.monotonic()
        self._due_at = self._beat_at + _BEAT_SECONDS
        self._timer = asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._beat)

    def _look(self, loop_thread: int) -> None:
        hangs = Hangs(now=time.monotonic(), cpu=time.process_time())
        complaints = Throttle(seconds=_SAID_SECONDS)
        while not self._closed.wait(_LOOK_SECONDS):
            overdue = hangs.overdue_seconds(beat_at=self._beat_at, now=time.monotonic(), cpu=time.process_time())
            if overdue is None or (silenced := complaints.silenced("blocked")) is None:
                continue
            log.error(
                "loop.blocked",
                seconds=round(overdue, 1),
                where=_where(sys._current_frames().get(loop_thread)),  # noqa: SLF001 - documented all the same
                meaning="nothing else ran meanwhile: no poll, no answer, no probe",
                not_shown=silenced,
            )


def _where(frame: FrameType | None) -> list[str]:
    """Files, lines and functions, the innermost first. No values, which may be a document."""
    if frame is None:
        return []
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES, lookup_lines=False)
    return [f"{'/'.join(PurePath(one.filename).parts[-3:])}:{one.lineno} {one.name}" for one in stack]
