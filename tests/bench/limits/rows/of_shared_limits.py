"""Three replicas count one account's limit in Redis, and nearly all of the work lies in one partition."""

from __future__ import annotations

from docsluice_local.rehearsal.limits import Limited
from tests.bench.limits import audit
from tests.bench.limits.documents import documents
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import GaveUpError, Setup, running
from tests.integration.redis_server import redis_server, why_no_redis

_PER_MINUTE = 1_200
_REPLICAS, _PARTITIONS = 3, 12
_ENOUGH = 0.95
_SPREAD = 10  # every tenth document goes where its id says, so that the others have work too, for a while
_BURST = 1 + 1 / audit.SECONDS_PER_MINUTE
"""A minute's limit and a second's: what providers, which enforce it in windows of a second, let through in a minute."""


def _place(number: int) -> int | None:
    return None if number % _SPREAD == 0 else 0


async def _play(bench: Bench) -> Result:
    if reason := why_no_redis():
        raise GaveUpError(reason)
    bench.folder.mkdir(parents=True, exist_ok=True)
    with redis_server(folder=bench.folder) as redis:
        return await _with_redis(bench, redis.url)


async def _with_redis(bench: Bench, url: str) -> Result:
    seconds = bench.ramp_seconds + bench.seconds(90, 30)
    setup = Setup(
        provider=["--median-seconds", "0.5", "--sigma", "0.5", "--requests-per-minute", str(_PER_MINUTE)],
        settings={
            "DOCSLUICE_SHARED_LIMITS_URL": url,
            "DOCSLUICE_REQUESTS_PER_MINUTE": str(_PER_MINUTE),
            "DOCSLUICE_MAX_CONCURRENCY": "96",  # of which each has a third
            "DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION": "256",
        },
        documents=documents(round(seconds * _PER_MINUTE / 60), tokens=(100, 400)),
        partitions=_PARTITIONS,
        place=_place,
        replicas=_REPLICAS,
    )
    async with running(bench, setup) as run:
        await run.until_all_ended()
        calls = await run.calls()
    span = audit.steady_span(calls, ramp_seconds=bench.ramp_seconds)
    used = audit.used_share(calls, span, what=Limited.REQUESTS, per_minute=_PER_MINUTE)
    refused, fullest = len(audit.refused(calls)), audit.fullest_window(calls, what=Limited.REQUESTS)
    dead_letters = len(run.outcomes.dead_letters)
    return Result(
        allowed=f"{_PER_MINUTE:,} requests a minute for {_REPLICAS} replicas, one with nearly all of the work",
        used=used,
        refused=refused,
        ended=run.outcomes.count,
        dead_letters=dead_letters,
        figures=f"fullest minute {fullest:,}",
        misses=misses(
            (used >= _ENOUGH, f"used {used:.3f} of {_ENOUGH}"),
            (not refused, f"{refused} calls refused"),
            (fullest <= _PER_MINUTE * _BURST, f"{fullest:,} in one minute"),
            (not dead_letters, f"{dead_letters} dead letters"),
        ),
    )


ROWS = (Row(name="shared", play=_play),)
