"""How much of the allowed calls in flight is used, when each call takes as long as its document says.

The bound is greedy scheduling of the very same latencies: each call begins as soon as a slot is free. A contender's
share is taken from the provider's own log, over a window that begins some seconds after its first call.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from docsluice_local.kafka import apache_kafka
from docsluice_local.process import Child
from tests.bench.contenders import BASELINE, DEFAULT
from tests.bench.latency import Latency, Span, greedy, used_share
from tests.bench.part import Case, Column, Options, Part, Played, Target
from tests.bench.parts import send
from tests.bench.process_cost import cpu_seconds, starved_seconds
from tests.bench.stage import Provider, Stage
from tests.bench.texts import texts

MEDIAN_SECONDS = 0.8
_SLOW_SECONDS = 3.2
"""With 1,024 calls in flight, the other asks for a thousand calls a second: the CPU limits, and not the scheduling."""
PARTITIONS = 16
_CHARACTERS = 1000
_RAMP_SECONDS = 5.0
_SECONDS, _QUICK_SECONDS = 20.0, 10.0
_SIGMAS = (0.7, 1.2)
_SLOTS, _QUICK_SLOTS = (16, 64, 256, 1024), (16, 256)
_SPARE = 1.3  # so that no partition runs dry within the window
_START_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_CONTENDERS = (DEFAULT, BASELINE, "faststream-safe", "langchain")


class WrongDrawsError(RuntimeError):
    """A contender did not send the documents' texts as they are, so its latencies are not those of the others."""


def _cases(stage: Stage, options: Options) -> Iterator[Case]:
    seconds, all_slots = (_QUICK_SECONDS, _QUICK_SLOTS) if options.quick else (_SECONDS, _SLOTS)
    setups = [(slots, sigma, MEDIAN_SECONDS) for sigma in _SIGMAS for slots in all_slots]
    setups += [] if options.quick else [(max(all_slots), min(_SIGMAS), _SLOW_SECONDS)]
    for slots, sigma, median in setups:
        latency = Latency(median_seconds=median, sigma=sigma)
        slow = "" if median == MEDIAN_SECONDS else f", median {median:g} s"
        for name in stage.present(*_CONTENDERS):
            yield Case(
                setup=f"{slots:,} in flight, sigma {sigma}{slow}",
                contender=name,
                play=partial(_play, name, stage=stage, latency=latency, slots=slots, seconds=seconds),
            )


def _play(name: str, *, stage: Stage, latency: Latency, slots: int, seconds: float) -> Played:
    place = stage.place()
    count = math.ceil(_SPARE * slots * (_RAMP_SECONDS + seconds) / latency.mean_seconds + slots)
    documents = texts(count, characters=_CHARACTERS)
    with apache_kafka(data_dir=place / "kafka") as broker, stage.provider(place, latency) as provider:
        asyncio.run(send(broker.bootstrap_servers, documents, partitions=PARTITIONS))
        with stage.contender(
            name,
            servers=broker.bootstrap_servers,
            provider=provider,
            place=place,
            in_flight=slots,
            partitions=PARTITIONS,
        ) as child:
            began = wait_for_calls(provider, child)
            began_cpu, began_starved = cpu_seconds(child), starved_seconds(child)
            _sleep_until(began + _RAMP_SECONDS + seconds, child)
            cpu, starved = cpu_seconds(child) - began_cpu, starved_seconds(child) - began_starved
            calls = provider.calls()
    drawn = _drawn(documents, latency)
    see_that_they_are_drawn(calls, drawn)
    began = min(call.begin for call in calls)
    window = Span(begin=began + _RAMP_SECONDS, end=began + _RAMP_SECONDS + seconds)
    best = used_share(greedy(drawn, slots=slots), Span(begin=_RAMP_SECONDS, end=_RAMP_SECONDS + seconds), slots=slots)
    used = used_share(calls, window, slots=slots)
    return Played(
        figures={
            "used": used,
            "bound": best,
            "share_of_bound": used / best,
            "calls_per_second": sum(window.begin <= call.end < window.end for call in calls) / seconds,
            "cpu_cores": cpu / (_RAMP_SECONDS + seconds),
            "starved": starved / (_RAMP_SECONDS + seconds),
        }
    )


def wait_for_calls(provider: Provider, child: Child, *, least: int = 1) -> float:
    """Wait until there were so many calls, and return the Unix time.

    Raises:
        RuntimeError: the process that should make them has ended, or makes none.
    """
    deadline = time.time() + _START_SECONDS
    while provider.count() < least:
        _see_that_it_runs(child)
        if time.time() > deadline:
            raise RuntimeError(f"{child.name} makes no call:\n{child.log_tail()}")
        time.sleep(_LOOK_SECONDS)
    return time.time()


def _sleep_until(moment: float, child: Child) -> None:
    while (left := moment - time.time()) > 0:
        _see_that_it_runs(child)
        time.sleep(min(0.5, left))


def _see_that_it_runs(child: Child) -> None:
    if not child.running:
        raise RuntimeError(f"{child.name} has ended:\n{child.log_tail()}")


def _drawn(documents: Mapping[str, str], latency: Latency) -> list[float]:
    return [latency.of(text) for text in documents.values()]


def see_that_they_are_drawn(calls: Sequence[Span], drawn: Sequence[float]) -> None:
    """Check that no call has a latency that is not of a document, and none is called twice."""
    odd = Counter(round(call.seconds, 4) for call in calls) - Counter(round(seconds, 4) for seconds in drawn)
    if odd.total() > len(calls) / 100:  # the clock's own rounding moves a few
        raise WrongDrawsError(f"{odd.total()} of {len(calls)} calls have no document's latency, or are repeated")


PART = Part(
    name="utilisation",
    caption="Lognormal latency with a median of 0.8 s. Share: slots used, of what greedy scheduling would use.",
    columns=(
        Column(figure="share_of_bound", title="share of the bound", digits=3),
        Column(figure="bound", title="bound", digits=3),
        Column(figure="calls_per_second", title="calls a second", digits=1),
        Column(figure="cpu_cores", title="cores", digits=2),
        Column(figure="starved", title="waited for a core", digits=2),
    ),
    cases=_cases,
    targets=(Target(figure="share_of_bound", at_least=0.97, contender=DEFAULT),),
)
