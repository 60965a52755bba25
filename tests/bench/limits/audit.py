"""What the provider's call log says about the use of a limit. Pure arithmetic. Times are seconds since the epoch."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from docsluice_local.rehearsal.call_log import Call
from docsluice_local.rehearsal.limits import Amounts, Limited

SECONDS_PER_MINUTE = 60.0
_ANSWERED = 200
_TOO_MANY_REQUESTS = 429
_FULL_RATE = 0.9


class NothingToAuditError(ValueError):
    """The log is too short for the question."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """From `begin`, which is out of it, to `end`, which is in it."""

    begin: float
    end: float

    def __post_init__(self) -> None:
        if not self.end > self.begin:
            raise NothingToAuditError(f"a span must have a length: {self.begin} to {self.end}")

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin

    def holds(self, moment: float) -> bool:
        """Whether the moment is in it."""
        return self.begin < moment <= self.end


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long documents have waited, in seconds."""

    median: float
    worst: float
    worst_large: float


def answered(calls: Iterable[Call]) -> list[Call]:
    """The calls that got an answer, by their beginning."""
    return sorted((call for call in calls if call.status == _ANSWERED), key=lambda call: call.started_at)


def refused(calls: Iterable[Call]) -> list[Call]:
    """The calls that were too many for some limit. A 429 that was a fault of the rehearsal's is none."""
    return [call for call in calls if call.status == _TOO_MANY_REQUESTS and call.limited_by is not None]


def steady_span(calls: Sequence[Call], *, ramp_seconds: float, until: float | None = None) -> Span:
    """From the first answered call after the ramp to the last one that is begun before the queue runs dry.

    The queue has run dry when no request comes for the first time any more, or at `until`. Both ends are beginnings of
    calls, so what falls into the span is what was saved up for in it: no call is counted by halves.

    Raises:
        NothingToAuditError: nothing is left between the two.
    """
    if not calls:
        raise NothingToAuditError("the provider has not been called")
    begun = min(call.started_at for call in calls) + ramp_seconds
    dry = max(call.started_at for call in calls if call.attempt <= 1) if until is None else until
    starts = [call.started_at for call in answered(calls) if begun <= call.started_at <= dry]
    if len(starts) <= 1:
        raise NothingToAuditError("no two calls were answered between the ramp and the end of the queue")
    return Span(begin=starts[0], end=starts[-1])


def counted(call: Call, what: Limited) -> int:
    """What the provider has counted for a call in the end: its use when it was answered, else what it had reserved."""
    if call.status == _TOO_MANY_REQUESTS and call.limited_by == Limited.REQUESTS:
        return 0  # a request that is refused for being one too many is none
    if call.status == _ANSWERED:
        used = Amounts(input_tokens=call.prompt_tokens, output_tokens=call.completion_tokens)
    else:
        used = Amounts(input_tokens=call.reserved_input_tokens, output_tokens=call.reserved_output_tokens)
    return used.of(what)


def used_share(calls: Iterable[Call], span: Span, *, what: Limited, per_minute: float) -> float:
    """How much of what the limit allows in the span was used by calls that got an answer."""
    used = sum(counted(call, what) for call in answered(calls) if span.holds(call.started_at))
    return used / (per_minute * span.seconds / SECONDS_PER_MINUTE)


def occupied_share(calls: Iterable[Call], span: Span, *, slots: int) -> float:
    """How much of the slots' time in the span calls were under way. A call without an end still is."""
    busy = sum(
        max(0.0, min(span.end, span.end if call.ended_at is None else call.ended_at) - max(span.begin, call.started_at))
        for call in calls
    )
    return busy / slots / span.seconds


def answers_per_second(calls: Iterable[Call], span: Span) -> float:
    """Answers that have ended in the span, for each second of it."""
    ended = [call for call in answered(calls) if call.ended_at is not None and span.holds(call.ended_at)]
    return len(ended) / span.seconds


def fullest_window(calls: Iterable[Call], *, what: Limited, seconds: float = SECONDS_PER_MINUTE) -> int:
    """The most that the provider has counted in any window of that length, wherever it begins."""
    ordered = sorted(calls, key=lambda call: call.started_at)
    most = total = first = 0
    for call in ordered:
        total += counted(call, what)
        while ordered[first].started_at <= call.started_at - seconds:
            total -= counted(ordered[first], what)
            first += 1
        most = max(most, total)
    return most


def refused_share(calls: Iterable[Call], *, since: float) -> float:
    """Which part of the calls from that moment on was too many for a limit. 0 where there were none."""
    later = [call for call in calls if call.started_at >= since]
    return len(refused(later)) / len(later) if later else 0.0


def begun_in(calls: Iterable[Call], span: Span) -> list[Call]:
    """The calls that have begun in the span."""
    return [call for call in calls if span.holds(call.started_at)]


def seconds_to_recover(calls: Iterable[Call], *, ended_at: float, rate: float) -> float | None:
    """From the end of a trouble until, over the last second, nine tenths of `rate` answered calls were begun.

    None when it never came to that.
    """
    starts = [call.started_at for call in answered(calls) if call.started_at >= ended_at]
    for number, start in enumerate(starts, start=1):
        within = number - bisect.bisect_right(starts, start - 1.0)
        if within >= _FULL_RATE * rate:
            return start - ended_at
    return None


def longest_pause(calls: Iterable[Call], span: Span) -> float:
    """The longest time in the span in which no call was begun."""
    moments = [span.begin, *sorted(call.started_at for call in begun_in(calls, span)), span.end]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def document_waits(order: Sequence[str], calls: Iterable[Call], *, readable: int, large: Iterable[str]) -> Waits:
    """How long documents waited from the moment when there was room to read them until they were first asked about.

    `order` is that of the topic, by the log's names of the documents, of which `readable` may be open at once: so there
    is room for one when as many before it as are too many have been begun. `large` are those to be looked at.

    Raises:
        NothingToAuditError: a document was never asked about, or none is large.
    """
    begun: dict[str, float] = {}
    for call in sorted(calls, key=lambda call: call.started_at):
        if call.document is not None:
            begun.setdefault(call.document, call.started_at)
    if missing := [name for name in order if name not in begun]:
        raise NothingToAuditError(f"{len(missing)} documents were never asked about")
    moments = sorted(begun[name] for name in order)
    waited = {name: max(0.0, begun[name] - moments[max(0, place - readable)]) for place, name in enumerate(order)}
    watched = [waited[name] for name in large]
    if not watched:
        raise NothingToAuditError("no document is large")
    return Waits(median=median(waited.values()), worst=max(waited.values()), worst_large=max(watched))


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars for a million tokens."""

    read: float
    written: float

    def of(self, call: Call) -> float:
        """What a call has cost. Nothing when it got no answer."""
        if call.status != _ANSWERED:
            return 0.0
        return (call.prompt_tokens * self.read + call.completion_tokens * self.written) / 1e6


def spent_in_windows(calls: Iterable[Call], *, price: Price, window_seconds: float) -> Mapping[int, float]:
    """Dollars of the calls that have begun in each window, by the window's number since the epoch."""
    spent: dict[int, float] = {}
    for call in calls:
        window = int(call.started_at // window_seconds)
        spent[window] = spent.get(window, 0.0) + price.of(call)
    return spent
