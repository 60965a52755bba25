"""What limits the consumers, from two looks at their metrics, in one sentence. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from docsluice_producer.command_line.numbers import counted, printable
from docsluice_producer.metrics.sample import Sample

WORDS = {
    "concurrency": "as many calls are out as may be at once",
    "requests": "the requests allowed a minute are used up",
    "tokens": "the tokens allowed a minute are used up",
    "input_tokens": "the input tokens allowed a minute are used up",
    "output_tokens": "the output tokens allowed a minute are used up",
    "gate": "the provider asked for a pause",
    "circuit": "the provider fails or the account is empty, and one call is tried every few seconds",
    "budget": "it is spent until the hour or the day is over",
    "dead_letter_limit": "too many documents become dead letters, and a person must decide",
}
"""Each constraint and each pause explained."""

PAUSES = ("dead_letter_limit", "budget", "circuit")
"""Reasons for a pause that are a limit. `backpressure` is none: enough has been read."""

Look = Mapping[str, Sample | str]
"""What each endpoint answered, by its URL: a sample, or what is wrong with it in words."""

_SEPARATOR = " · "
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_MANY = 10
"""From this many of a unit on, the smaller unit is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`sentence` has everything, `cause` only what limits, so it stays the same while only numbers change."""

    cause: tuple[str, ...]
    sentence: str


def finding(before: Look, now: Look) -> Finding:
    """Compare two looks. Without an earlier one, the limit is not known yet."""
    samples = {url: answer for url, answer in now.items() if isinstance(answer, Sample)}
    problems = [answer for answer in now.values() if isinstance(answer, str)]
    causes, said = [*problems], []
    for cause, sentence in (*_pauses(samples), *_waits(before, samples)):
        causes.append(cause)
        said.append(sentence)
    if samples:
        said.append(_backlog([*samples.values()]))
        problems = [f"{problem}: not counted" for problem in problems]
    return Finding(cause=tuple(causes), sentence=printable(_SEPARATOR.join([*said, *problems])))


def _pauses(samples: Mapping[str, Sample]) -> Iterator[tuple[str, str]]:
    for reason in PAUSES:
        paused = sum(reason in sample.paused_for for sample in samples.values())
        if paused:
            who = "" if paused == len(samples) else f"{paused} of {len(samples)} replicas "
            yield f"{who}paused by {reason}", f"{who}paused by {reason}: {WORDS[reason]}"


def _waits(before: Look, samples: Mapping[str, Sample]) -> Iterator[tuple[str, str]]:
    """What limits the replicas that are not paused. Calls of the others wait for the cause of their pause."""
    reading = {url: sample for url, sample in samples.items() if sample.paused_for.isdisjoint(PAUSES)}
    pairs = [(then, sample) for url, sample in reading.items() if isinstance(then := before.get(url), Sample)]
    if not pairs:
        if reading:
            yield "", "what limits is known at the next look"
        return
    grown: dict[str, float] = {}
    for then, sample in pairs:
        for constraint, seconds in sample.waited_seconds.items():
            growth = _growth(then.waited_seconds.get(constraint, 0.0), seconds)
            grown[constraint] = grown.get(constraint, 0.0) + growth
    total = sum(grown.values())
    if total <= 0:
        yield "limited by nothing", "limited by nothing: no call waits"
        return
    constraint, seconds = max(grown.items(), key=lambda one: one[1])
    words = WORDS.get(constraint)
    sentence = f"limited by {constraint} ({seconds / total:.0%} of the waiting)" + (f": {words}" if words else "")
    yield f"limited by {constraint}", sentence


def _growth(before: float, now: float) -> float:
    """The growth of a counter. One that has shrunk began again at 0: the replica was restarted."""
    return now - before if now >= before else now


def _backlog(samples: list[Sample]) -> str:
    if any(sample.backlog_documents is None for sample in samples):
        return "what is left to do is not known yet"
    busy = [sample for sample in samples if (sample.backlog_documents or 0) > 0]
    if not busy:
        return "nothing left to do"
    said = [f"{counted(round(sum(sample.backlog_documents or 0 for sample in busy)), 'document')} left to do"]
    etas = [sample.eta_seconds for sample in busy if sample.eta_seconds is not None]
    if len(etas) == len(busy):  # otherwise some have no pace yet, and the sums would leave them out
        # Each replica works on its own partitions, so the slowest one decides.
        said += [f"done in about {_duration(max(etas))}", f"will cost about {_usd(sum(one.cost_usd for one in busy))}"]
    return ", ".join(said)


def _duration(seconds: float) -> str:
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= unit:
            if seconds >= _MANY * unit:
                return f"{seconds / unit:,.0f} {name}"
            whole, rest = divmod(round(seconds / smaller), unit // smaller)
            return f"{whole} {name} {rest} {smaller_name}" if rest else f"{whole} {name}"
    return f"{max(1.0, seconds):.0f} s"


def _usd(amount: float) -> str:
    """Dollars and cents. Below a dollar, two significant digits."""
    if amount <= 0:
        return "$0"
    digits = 2 if amount >= 1 else 1 - math.floor(math.log10(amount))
    return f"${amount:,.{digits}f}"
