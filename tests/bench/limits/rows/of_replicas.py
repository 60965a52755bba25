"""Three replicas share one account's limit, before and after one of them is killed."""

from __future__ import annotations

import time

from docsluice_local.rehearsal.limits import Limited
from tests.acceptance.faults import topics
from tests.bench.limits import audit
from tests.bench.limits.documents import documents
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import GaveUpError, Run, Setup, running

_PER_MINUTE = 1_200
_REPLICAS, _PARTITIONS = 3, 12
_ENOUGH = 0.95
_GROUP = "docsluice"
_TAKEOVER_SECONDS = 30.0
_MOST_TAKEOVER_SECONDS = 90.0
_SPARE = 1.3  # so that no replica's partitions run dry before the others'
_BURST = 1 + 1 / audit.SECONDS_PER_MINUTE
"""A minute's limit and a second's: what providers, which enforce it in windows of a second, let through in a minute."""


async def _play(bench: Bench) -> Result:
    seconds = bench.seconds(70, 20)
    total_seconds = bench.ramp_seconds + 2 * seconds + _TAKEOVER_SECONDS
    setup = Setup(
        provider=["--median-seconds", "0.5", "--sigma", "0.5", "--requests-per-minute", str(_PER_MINUTE)],
        settings={"DOCSLUICE_REQUESTS_PER_MINUTE": str(_PER_MINUTE), "DOCSLUICE_MAX_CONCURRENCY": "32"},
        documents=documents(round(total_seconds * _PER_MINUTE / 60 * _SPARE), tokens=(100, 400)),
        partitions=_PARTITIONS,
        replicas=_REPLICAS,
    )
    async with running(bench, setup) as run:
        await run.until(lambda: run.outcomes.count > 0, what="the first document has ended")
        await run.pass_seconds(bench.ramp_seconds + seconds, what="three replicas")
        killed_at = time.time()
        run.expected_to_run.discard(0)
        await run.consumers[0].kill()
        taken_over_at = await _taken_over(run)
        await run.pass_seconds(seconds, what="two replicas")
        ended_at = time.time()
        calls = await run.calls()
    before = audit.steady_span(calls, ramp_seconds=bench.ramp_seconds, until=killed_at)
    after = audit.steady_span(
        calls, ramp_seconds=taken_over_at - min(call.started_at for call in calls), until=ended_at
    )
    shares = [audit.used_share(calls, span, what=Limited.REQUESTS, per_minute=_PER_MINUTE) for span in (before, after)]
    refused, fullest = len(audit.refused(calls)), audit.fullest_window(calls, what=Limited.REQUESTS)
    dead_letters = len(run.outcomes.dead_letters)
    return Result(
        allowed=f"{_PER_MINUTE:,} requests a minute for {_REPLICAS} replicas",
        used=min(shares),
        refused=refused,
        ended=run.outcomes.count,
        dead_letters=dead_letters,
        figures=f"with three {shares[0]:.3f}; taken over after {taken_over_at - killed_at:.0f} s; "
        f"with two {shares[1]:.3f}; fullest minute {fullest:,}",
        misses=misses(
            (min(shares) >= _ENOUGH, f"used {min(shares):.3f} of {_ENOUGH}"),
            (not refused, f"{refused} calls refused"),
            (fullest <= _PER_MINUTE * _BURST, f"{fullest:,} in one minute"),
            (not dead_letters, f"{dead_letters} dead letters"),
        ),
    )


async def _taken_over(run: Run) -> float:
    """Wait until the group is of the others alone, and return when that was.

    Raises:
        GaveUpError: it never was.
    """
    deadline = time.monotonic() + _MOST_TAKEOVER_SECONDS
    while await topics.members(run.bootstrap_servers, _GROUP) != ("Stable", _REPLICAS - 1):
        if time.monotonic() > deadline:
            raise GaveUpError("the group never went on without the replica that was killed")
        await run.pass_seconds(0.5, what="the others take over")
    return time.time()


ROWS = (Row(name="replicas", play=_play),)
