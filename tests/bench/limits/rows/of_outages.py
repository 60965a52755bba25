"""The provider fails for a while with a full queue: nothing is lost, few calls are wasted, and work resumes at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from docsluice_local.rehearsal.call_log import Call
from docsluice_local.rehearsal.limits import Limited
from tests.bench.limits import audit
from tests.bench.limits.audit import Span
from tests.bench.limits.documents import documents
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import Run, Setup, running

_PER_MINUTE = 2_400
_MOST_SECONDS_TO_RECOVER = 5.0
_NEARLY = 0.9
_NOTICED_SECONDS = 2.0
_SAMPLE_SECONDS = 0.5
_BEFORE_SECONDS = 8.0


def _setup(bench: Bench) -> Setup:
    return Setup(
        provider=["--median-seconds", "0.3", "--sigma", "0.5", "--requests-per-minute", str(_PER_MINUTE)],
        settings={"DOCSLUICE_REQUESTS_PER_MINUTE": str(_PER_MINUTE), "DOCSLUICE_MAX_CONCURRENCY": "64"},
        documents=documents(round(bench.seconds(2_000, 1_000)), tokens=(100, 400)),
    )


async def _play_outage(bench: Bench, outage: str) -> Result:
    seconds = bench.seconds(60, 15)
    async with running(bench, _setup(bench)) as run:
        await run.until(lambda: run.outcomes.count > 0, what="the first document has ended")
        await run.pass_seconds(_BEFORE_SECONDS, what="before the outage")
        began = time.time()
        await run.provider.begin_outage(outage, seconds=seconds)
        await run.pass_seconds(seconds, what=f"outage: {outage}")
        await run.until_all_ended()
        calls = await run.calls()
    during = Span(begin=began, end=began + seconds)
    recovery = _recovery(calls, during)
    in_time = recovery.seconds is not None and recovery.seconds <= _MOST_SECONDS_TO_RECOVER
    return _result(
        run,
        calls,
        allowed=f"nothing for {seconds:.0f} s ({outage})",
        during=during,
        more=misses(
            (in_time, f"full rate only {_said(recovery.seconds)} after the end"),
            (recovery.after >= _NEARLY * recovery.before, f"used {recovery.after:.3f} afterwards"),
        ),
    )


async def _play_quota(bench: Bench) -> Result:
    seconds = bench.seconds(30, 12)
    async with running(bench, _setup(bench)) as run:
        await run.until(lambda: run.outcomes.count > 0, what="the first document has ended")
        await run.pass_seconds(_BEFORE_SECONDS, what="before the account is empty")
        began = time.time()
        await run.provider.begin_outage("insufficient_quota", seconds=seconds)
        await run.pass_seconds(_NOTICED_SECONDS, what="the account is empty")
        shown = []
        while time.time() < began + seconds - _SAMPLE_SECONDS:
            shown.append(await _shows_an_open_circuit(run))
            await run.pass_seconds(_SAMPLE_SECONDS, what="the account is empty")
        await run.until_all_ended()
        calls = await run.calls()
    return _result(
        run,
        calls,
        allowed=f"nothing for {seconds:.0f} s (insufficient_quota)",
        during=Span(begin=began, end=began + seconds),
        more=misses((all(shown), f"metrics showed it in {sum(shown)} of {len(shown)} looks")),
    )


async def _shows_an_open_circuit(run: Run) -> bool:
    """Whether the metrics say that the circuit is open and that consumption is paused for it."""
    with contextlib.suppress(OSError):
        is_open = 1 in (await run.consumers[0].gauges("circuit_open")).values()
        is_paused = (await run.consumers[0].gauges("consumption_paused")).get(("circuit",)) == 1
        return is_open and is_paused
    return False


@dataclass(frozen=True, kw_only=True)
class _Recovery:
    """Seconds from the outage's end until the rate was nearly what it had been, and the limit's used shares."""

    seconds: float | None
    before: float
    after: float


def _recovery(calls: Sequence[Call], during: Span) -> _Recovery:
    """One second can be full by the burst that was saved up. Whether it stays so shows in the share from then on."""
    before = Span(begin=min(call.started_at for call in calls) + 1, end=during.begin)
    rate = len(audit.answered(audit.begun_in(calls, before))) / before.seconds
    later = [call for call in calls if call.started_at > during.end]
    after = audit.steady_span(later, ramp_seconds=_MOST_SECONDS_TO_RECOVER)
    return _Recovery(
        seconds=audit.seconds_to_recover(calls, ended_at=during.end, rate=rate),
        before=audit.used_share(calls, before, what=Limited.REQUESTS, per_minute=_PER_MINUTE),
        after=audit.used_share(calls, after, what=Limited.REQUESTS, per_minute=_PER_MINUTE),
    )


def _said(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def _result(run: Run, calls: Sequence[Call], *, allowed: str, during: Span, more: tuple[str, ...]) -> Result:
    probes = audit.begun_in(calls, during)
    late = [call for call in probes if call.started_at > during.begin + _NOTICED_SECONDS]
    recovery = _recovery(calls, during)
    dead_letters = len(run.outcomes.dead_letters)
    return Result(
        allowed=allowed,
        used=recovery.after,
        refused=len(audit.refused(calls)),
        ended=run.outcomes.count,
        dead_letters=dead_letters,
        figures=f"calls meanwhile {len(probes)}, {len(late)} of them after its first {_NOTICED_SECONDS:.0f} s; "
        f"used before {recovery.before:.3f}, full rate again after {_said(recovery.seconds)}",
        misses=(*misses((not dead_letters, f"{dead_letters} dead letters")), *more),
    )


ROWS = (
    Row(name="outage-503", play=lambda bench: _play_outage(bench, "503")),
    Row(name="outage-refused", play=lambda bench: _play_outage(bench, "refused")),
    Row(name="quota", play=_play_quota),
)
