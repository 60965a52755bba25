"""A server that slows down under many calls: concurrency that finds out, against the best that is set by hand."""

from __future__ import annotations

import time

from tests.bench.limits import audit
from tests.bench.limits.audit import Span
from tests.bench.limits.documents import documents
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import Setup, running

_KNEE = 24
_SWEEP = ("8", "16", "24", "32", "48", "96")
_AUTO = "auto:4..128"
_MEDIAN_SECONDS = 0.4
_MOST_PER_SECOND = 65.0
_ENOUGH = 0.9


async def _play(bench: Bench, *, power: float) -> Result:
    found: dict[str, float] = {}
    in_flight: dict[str, float] = {}
    refused = ended = dead_letters = 0
    for concurrency in (_AUTO, *_SWEEP):
        ramp = bench.seconds(40, 20) if concurrency == _AUTO else bench.ramp_seconds
        seconds = bench.seconds(40, 12)
        setup = Setup(
            provider=[
                *("--median-seconds", str(_MEDIAN_SECONDS), "--sigma", "0.5"),
                *("--slow-past", str(_KNEE), "--slow-power", str(power)),
            ],
            settings={"DOCSLUICE_MAX_CONCURRENCY": concurrency},
            documents=documents(round((ramp + seconds) * _MOST_PER_SECOND), tokens=(100, 400)),
        )
        async with running(bench, setup, name=concurrency.replace(":", "-")) as run:
            await run.until(lambda run=run: run.outcomes.count > 0, what="the first document has ended")  # type: ignore[misc]
            await run.pass_seconds(ramp + seconds, what=f"concurrency {concurrency}")
            end = time.time()
            calls = await run.calls()
        span = Span(begin=end - seconds, end=end)
        found[concurrency] = audit.answers_per_second(calls, span)
        in_flight[concurrency] = audit.occupied_share(calls, span, slots=1)
        refused += len(audit.refused(calls))
        ended += run.outcomes.count
        dead_letters += len(run.outcomes.dead_letters)
    best = max(_SWEEP, key=found.__getitem__)
    share = found[_AUTO] / found[best]
    return Result(
        allowed=f"slower past {_KNEE} calls, power {power}",
        used=share,
        refused=refused,
        ended=ended,
        dead_letters=dead_letters,
        figures=f"a second: auto {found[_AUTO]:.1f}, with {in_flight[_AUTO]:.0f} at once; "
        + ", ".join(f"{each}: {found[each]:.1f}" for each in _SWEEP),
        misses=misses(
            (share >= _ENOUGH, f"{share:.2f} of the best, which is {best}"),
            (not dead_letters, f"{dead_letters} dead letters"),
        ),
    )


ROWS = (
    Row(name="auto-flat", play=lambda bench: _play(bench, power=1.0)),
    Row(name="auto-falling", play=lambda bench: _play(bench, power=1.5)),
)
