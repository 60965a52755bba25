"""The provider fails for a while with a full queue: nothing is lost, few calls are wasted, and work resumes at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from deploy.local.rehearsal.call_log import Call
from tests.bench.limits import audit
from tests.bench.limits.audit import Span
from tests.bench.limits.documents import documents
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import Run, Setup, running

_PER_MINUTE = 2_400
_MODEL = "gpt-4o-mini"
_MOST_SECONDS_TO_RECOVER = 5.0
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
    recovered = _recovered(calls, during)
    met = recovered is not None and recovered <= _MOST_SECONDS_TO_RECOVER
    return _result(
        run,
        calls,
        allowed=f"nothing for {seconds:.0f} s ({outage})",
        during=during,
        more=misses((met, f"full rate only {_said(recovered)} after the end")),
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
        is_open = (await run.consumers[0].gauges("circuit_open")).get((_MODEL,))
        is_paused = (await run.consumers[0].gauges("consumption_paused")).get(("circuit",))
        return is_open == 1 and is_paused == 1
    return False


def _recovered(calls: Sequence[Call], during: Span) -> float | None:
    """Seconds from the end of the outage until the rate was nearly what it had been before."""
    before = Span(begin=min(call.started_at for call in calls) + 1, end=during.begin)
    rate = len(audit.answered(audit.begun_in(calls, before))) / before.seconds
    return audit.seconds_to_recover(calls, ended_at=during.end, rate=rate)


def _said(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def _result(run: Run, calls: Sequence[Call], *, allowed: str, during: Span, more: tuple[str, ...]) -> Result:
    probes = audit.begun_in(calls, during)
    late = [call for call in probes if call.started_at > during.begin + _NOTICED_SECONDS]
    dead_letters = len(run.outcomes.dead_letters)
    return Result(
        allowed=allowed,
        used=None,
        refused=len(audit.refused(calls)),
        ended=run.outcomes.count,
        dead_letters=dead_letters,
        figures=f"calls meanwhile {len(probes)}, {len(late)} of them after its first {_NOTICED_SECONDS:.0f} s; "
        f"full rate after {_said(_recovered(calls, during))}",
        misses=(*misses((not dead_letters, f"{dead_letters} dead letters")), *more),
    )


ROWS = (
    Row(name="outage-503", play=lambda bench: _play_outage(bench, "503")),
    Row(name="outage-refused", play=lambda bench: _play_outage(bench, "refused")),
    Row(name="quota", play=_play_quota),
)
