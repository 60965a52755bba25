"""So many dollars an hour and no more, whatever happens to the process. An hour is 30 seconds here."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from docsluice_local.rehearsal.call_log import Call
from tests.bench.limits import audit
from tests.bench.limits.audit import Price, Span
from tests.bench.limits.documents import documents
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import Run, Setup, running
from tests.bench.limits.short_hours import HOUR_SECONDS

_PRICE = Price(read=10.0, written=40.0)
_CAP = 0.50
_SLOTS = 16
_PER_MINUTE = 600
_DOCUMENTS = 700
_KILL_AFTER_SECONDS = 20.0
"""Into the hour: the cap is reached after about ten."""
_MOST_SECONDS_TO_RESUME = 2.0


@dataclass(frozen=True, kw_only=True)
class _Course:
    """When what happened, in seconds since the epoch. `hours` are the beginnings of two hours and of what follows."""

    hours: tuple[float, float, float]
    restarted_at: float


async def _play(bench: Bench) -> Result:
    prices = bench.folder / "prices.yaml"
    prices.write_text(
        "gpt-4o-mini:\n"
        f"  input_usd_per_million_tokens: {_PRICE.read}\n"
        f"  output_usd_per_million_tokens: {_PRICE.written}\n",
        encoding="utf-8",
    )
    setup = Setup(
        provider=["--median-seconds", "0.3", "--sigma", "0.5"],
        settings={
            "DOCSLUICE_BUDGET_USD_PER_HOUR": str(_CAP),
            "DOCSLUICE_PRICES": str(prices),
            "DOCSLUICE_REQUESTS_PER_MINUTE": str(_PER_MINUTE),
            "DOCSLUICE_MAX_CONCURRENCY": str(_SLOTS),
        },
        documents=documents(_DOCUMENTS, tokens=(100, 400)),
        module="tests.bench.limits.short_hours",
    )
    async with running(bench, setup) as run:
        course = await _live_through(run)
        calls = await run.calls()
    return _result(run, calls, course)


async def _live_through(run: Run) -> _Course:
    """An hour with a kill and a restart in it, another one, and the beginning of a third."""
    first = math.ceil((time.time() + 1) / HOUR_SECONDS) * HOUR_SECONDS
    hours = (first, first + HOUR_SECONDS, first + 2 * HOUR_SECONDS)
    await run.pass_seconds(first - time.time() + _KILL_AFTER_SECONDS, what="the first whole hour")
    run.expected_to_run.clear()
    await run.consumers[0].kill()
    restarted_at = time.time()
    await run.consumers[0].start()
    run.expected_to_run.add(0)
    await run.pass_seconds(hours[2] - time.time() + 2 * _MOST_SECONDS_TO_RESUME, what="restarted; the next hours")
    return _Course(hours=hours, restarted_at=restarted_at)


def _result(run: Run, calls: Sequence[Call], course: _Course) -> Result:
    by_hour = audit.spent_in_windows(calls, price=_PRICE, window_seconds=HOUR_SECONDS)
    spent = [by_hour.get(int(hour // HOUR_SECONDS), 0.0) for hour in course.hours[:2]]
    in_flight = _SLOTS * max(_PRICE.of(call) for call in calls)
    again = audit.begun_in(calls, Span(begin=course.restarted_at, end=course.hours[1]))
    resumed = [_seconds_until_a_call(calls, hour) for hour in course.hours[1:]]
    dead_letters = len(run.outcomes.dead_letters)
    dollars = ", ".join(f"{each:.3f}" for each in spent)
    return Result(
        allowed=f"{_CAP:.2f} dollars in {HOUR_SECONDS:.0f} s",
        used=max(spent) / _CAP,
        refused=len(audit.refused(calls)),
        ended=run.outcomes.count,
        dead_letters=dead_letters,
        figures=f"spent {dollars} (in flight at most {in_flight:.3f}); calls after the restart {len(again)}; "
        f"resumed after {', '.join(f'{each:.1f} s' for each in resumed)}",
        misses=misses(
            (max(spent) <= _CAP + in_flight, f"spent {max(spent):.3f}"),
            (min(spent) >= _CAP - in_flight, f"spent only {min(spent):.3f}"),
            (not again, f"{len(again)} calls in the hour whose budget was spent before the restart"),
            (max(resumed) <= _MOST_SECONDS_TO_RESUME, f"resumed only after {max(resumed):.1f} s"),
            (not dead_letters, f"{dead_letters} dead letters"),
        ),
    )


def _seconds_until_a_call(calls: Sequence[Call], moment: float) -> float:
    return min((call.started_at - moment for call in calls if call.started_at >= moment), default=math.inf)


ROWS = (Row(name="budget", play=_play),)
