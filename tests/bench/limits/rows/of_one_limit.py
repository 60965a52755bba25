"""One limit is in force, and the provider has the same: all of it is used, and not one call is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from docsluice_local.rehearsal.call_log import Call
from docsluice_local.rehearsal.limits import Limited
from tests.bench.limits import audit
from tests.bench.limits.documents import documents, name_in_log, tokens_of
from tests.bench.limits.row import Bench, Result, Row, misses
from tests.bench.limits.run import Run, Setup, running

LATENCY = ("--median-seconds", "0.5", "--sigma", "0.5")
_ENOUGH = 0.97
_ENOUGH_OF_MIXED = 0.95
_SLOTS = 16
_MANY_SLOTS = "64"
_TYPICAL = (100, 400)
_MIXED = (100, 20_000)
_LARGE_TOKENS = 10_000
_READABLE = 64
_MOST_WAITS = 2.0


@dataclass(frozen=True, kw_only=True)
class _Bound:
    """A limit, and how many of the typical documents fit into a second of it, about."""

    what: Limited
    per_minute: int
    documents_per_second: float

    @property
    def variable(self) -> str:
        """The consumer's setting."""
        return f"DOCSLUICE_{self.what.upper()}_PER_MINUTE"

    @property
    def flag(self) -> str:
        """The provider's argument."""
        return f"--{self.what.replace('_', '-')}-per-minute"


def _in_words(bound: _Bound) -> str:
    return f"{bound.per_minute:,} {bound.what.replace('_', ' ')} a minute"


async def _play_bound(bench: Bench, bound: _Bound) -> Result:
    seconds = bench.ramp_seconds + bench.seconds(60, 20)
    setup = Setup(
        provider=[*LATENCY, bound.flag, str(bound.per_minute)],
        settings={bound.variable: str(bound.per_minute), "DOCSLUICE_MAX_CONCURRENCY": _MANY_SLOTS},
        documents=documents(round(seconds * bound.documents_per_second), tokens=_TYPICAL),
    )
    async with running(bench, setup) as run:
        await run.until_all_ended()
        calls = await run.calls()
    span = audit.steady_span(calls, ramp_seconds=bench.ramp_seconds)
    used = audit.used_share(calls, span, what=bound.what, per_minute=bound.per_minute)
    fullest = audit.fullest_window(calls, what=bound.what)
    return _result(
        run, calls, allowed=_in_words(bound), used=used, enough=_ENOUGH, figures=f"fullest minute {fullest:,}"
    )


async def _play_concurrency(bench: Bench) -> Result:
    seconds = bench.ramp_seconds + bench.seconds(60, 20)
    setup = Setup(
        provider=["--median-seconds", "0.8", "--sigma", "0.5"],
        settings={"DOCSLUICE_MAX_CONCURRENCY": str(_SLOTS)},
        documents=documents(round(seconds * _SLOTS / 0.9), tokens=_TYPICAL),
    )
    async with running(bench, setup) as run:
        await run.until_all_ended()
        calls = await run.calls()
    span = audit.steady_span(calls, ramp_seconds=bench.ramp_seconds)
    most = max(call.in_flight for call in calls)
    return _result(
        run,
        calls,
        allowed=f"{_SLOTS} at once",
        used=audit.occupied_share(calls, span, slots=_SLOTS),
        enough=_ENOUGH,
        figures=f"most at once {most}",
        more=misses((most <= _SLOTS, f"{most} calls at once")),
    )


async def _play_mixed(bench: Bench) -> Result:
    per_minute, per_second = 1_500_000, 6.5
    texts = documents(round((bench.ramp_seconds + bench.seconds(90, 30)) * per_second), tokens=_MIXED)
    setup = Setup(
        provider=[*LATENCY, "--tokens-per-minute", str(per_minute)],
        settings={
            "DOCSLUICE_TOKENS_PER_MINUTE": str(per_minute),
            "DOCSLUICE_MAX_CONCURRENCY": _MANY_SLOTS,
            "DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION": str(_READABLE),
        },
        documents=texts,
        partitions=1,  # so that the topic has an order
    )
    async with running(bench, setup) as run:
        await run.until_all_ended()
        calls = await run.calls()
    span = audit.steady_span(calls, ramp_seconds=bench.ramp_seconds)
    waits = audit.document_waits(
        [name_in_log(text) for text in texts.values()],
        calls,
        readable=_READABLE,
        large=[name_in_log(text) for text in texts.values() if tokens_of(text) >= _LARGE_TOKENS],
    )
    return _result(
        run,
        calls,
        allowed=f"{per_minute:,} tokens a minute",
        used=audit.used_share(calls, span, what=Limited.TOKENS, per_minute=per_minute),
        enough=_ENOUGH_OF_MIXED,
        figures=f"wait: median {waits.median:.1f} s, worst {waits.worst:.1f} s, if large {waits.worst_large:.1f} s",
        more=misses((waits.worst <= _MOST_WAITS * waits.median, "a document starves")),
    )


def _result(
    run: Run,
    calls: Sequence[Call],
    *,
    allowed: str,
    used: float,
    enough: float,
    figures: str,
    more: tuple[str, ...] = (),
) -> Result:
    refused, dead_letters = len(audit.refused(calls)), len(run.outcomes.dead_letters)
    return Result(
        allowed=allowed,
        used=used,
        refused=refused,
        ended=run.outcomes.count,
        dead_letters=dead_letters,
        figures=figures,
        misses=(
            *misses(
                (used >= enough, f"used {used:.3f} of {enough}"),
                (not refused, f"{refused} calls refused"),
                (not dead_letters, f"{dead_letters} dead letters"),
            ),
            *more,
        ),
    )


def _row(name: str, bound: _Bound) -> Row:
    return Row(name=name, play=lambda bench: _play_bound(bench, bound))


ROWS = (
    _row("requests", _Bound(what=Limited.REQUESTS, per_minute=600, documents_per_second=10)),
    _row("input-tokens", _Bound(what=Limited.INPUT_TOKENS, per_minute=240_000, documents_per_second=12)),
    _row("output-tokens", _Bound(what=Limited.OUTPUT_TOKENS, per_minute=60_000, documents_per_second=17.5)),
    _row("tokens", _Bound(what=Limited.TOKENS, per_minute=300_000, documents_per_second=12.5)),
    Row(name="concurrency", play=_play_concurrency),
    Row(name="mixed-sizes", play=_play_mixed),
)
