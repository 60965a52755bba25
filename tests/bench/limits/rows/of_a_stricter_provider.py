"""The provider allows a third of what was configured: the consumer has to find out, from headers or from 429s alone."""

from __future__ import annotations

from docsluice_local.rehearsal.limits import Limited
from tests.bench.limits import audit
from tests.bench.limits.documents import documents
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import Setup, running

_ALLOWED, _CONFIGURED = 600, 1_800
_FIRST_SECONDS = 60.0
_ENOUGH = 0.9
_MOST_REFUSED, _MOST_REFUSED_IN_SILENCE = 0.01, 0.02
"""An unnamed limit is touched again and again, because it may have been an accident, or may be gone."""
_READABLE = 128
_PARTITIONS = 4


async def _play(bench: Bench, *, headers: bool) -> Result:
    per_second = _ALLOWED / audit.SECONDS_PER_MINUTE
    total = round((_FIRST_SECONDS + bench.seconds(90, 30)) * per_second) + _READABLE
    setup = Setup(
        provider=[
            *("--median-seconds", "0.5", "--sigma", "0.5", "--requests-per-minute", str(_ALLOWED)),
            *(() if headers else ("--no-limit-headers",)),
        ],
        settings={
            "DOCSLUICE_REQUESTS_PER_MINUTE": str(_CONFIGURED),
            "DOCSLUICE_MAX_CONCURRENCY": "32",
            "DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION": str(_READABLE // _PARTITIONS),
        },
        documents=documents(total, tokens=(100, 400)),
        partitions=_PARTITIONS,
    )
    async with running(bench, setup) as run:
        await run.until_all_ended()
        calls = await run.calls()
    # Retries come last, so the queue is dry once what is left no longer fills all places.
    dry = audit.answered(calls)[total - _READABLE].started_at
    span = audit.steady_span(calls, ramp_seconds=_FIRST_SECONDS, until=dry)
    used = audit.used_share(calls, span, what=Limited.REQUESTS, per_minute=_ALLOWED)
    later = audit.refused_share(audit.begun_in(calls, span), since=span.begin)
    most = _MOST_REFUSED if headers else _MOST_REFUSED_IN_SILENCE
    dead_letters = len(run.outcomes.dead_letters)
    return Result(
        allowed=f"{_ALLOWED:,} requests a minute, configured {_CONFIGURED:,}",
        used=used,
        refused=len(audit.refused(calls)),
        ended=run.outcomes.count,
        dead_letters=dead_letters,
        figures=f"429s after the first minute {later:.2%}",
        misses=misses(
            (used >= _ENOUGH, f"used {used:.3f} of {_ENOUGH}"),
            (later < most, f"{later:.1%} of calls refused after the first minute"),
            (not dead_letters, f"{dead_letters} dead letters"),
        ),
    )


ROWS = (
    Row(name="stricter", play=lambda bench: _play(bench, headers=True)),
    Row(name="stricter-silent", play=lambda bench: _play(bench, headers=False)),
)
