"""A dead letter to redrive: whether it goes, in which form, and what that may cost. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto

from docsluice.messages import (
    ERROR_HEADER_PREFIX,
    REPLAY_COUNT_HEADER,
    DeadLetterReason,
    Headers,
    is_error_header,
    stub_parts,
)
from docsluice_producer.command_line.numbers import counted, printable, usd
from docsluice_producer.dead_letters.letter import Letter

MOST_REPLAYS = 3
_OTHERS_NAMED = 10
_KEPT = frozenset(
    ERROR_HEADER_PREFIX + name for name in ("topic", "partition", "offset", "timestamp", "first_failed_at", "cost_usd")
)
"""The origin, which the service keeps when the record fails again, and the cost, to which it adds."""

_OF_THE_RECORD = (DeadLetterReason.UNDECODABLE, DeadLetterReason.INVALID_EVENT)
"""Reasons that lie in the record itself, whatever the model."""


class Verdict(Enum):
    """What a redrive does with a dead letter."""

    SEND = auto()
    OF_ANOTHER_TOPIC = auto()
    TOO_OFTEN = auto()
    EMPTY = auto()


def verdict(letter: Letter, *, topic: str, most_replays: int | None) -> Verdict:
    """Whether the letter goes back to `topic`. `most_replays` None sets no limit."""
    if letter.origin_topic != topic:
        return Verdict.OF_ANOTHER_TOPIC
    if letter.record.value is None:
        return Verdict.EMPTY  # the service skips a record without a value
    if most_replays is not None and letter.replays >= most_replays:
        return Verdict.TOO_OFTEN
    return Verdict.SEND


def redriven_headers(headers: Headers, *, replays: int, own: Headers | None = None) -> list[tuple[str, bytes | None]]:
    """The record's own headers as they were, its origin, and the count of how often it was sent again.

    `own` are the original's headers, if the dead letter lacks them.
    """
    of_the_record = [one for one in (headers if own is None else own) if not is_error_header(one[0])]
    kept = [*of_the_record, *(one for one in headers if one[0] in _KEPT)]
    return [*kept, (REPLAY_COUNT_HEADER, str(replays).encode())]


@dataclass(slots=True, kw_only=True)
class Sorting:
    """Sorts dead letters into those that go back to `topic` and those that do not, and counts the latter."""

    topic: str
    most_replays: int | None
    _others: Counter[str] = field(default_factory=Counter)
    _verdicts: Counter[Verdict] = field(default_factory=Counter)

    def sends(self, letter: Letter) -> bool:
        """Whether this one goes back."""
        found = verdict(letter, topic=self.topic, most_replays=self.most_replays)
        self._verdicts[found] += 1
        if found is Verdict.OF_ANOTHER_TOPIC:
            self._others[letter.origin_topic or ""] += 1
        return found is Verdict.SEND

    @property
    def remarks(self) -> list[str]:
        """What does not go back: a line for each kind, with the flag that includes it."""
        lines = []
        if count := self._verdicts[Verdict.TOO_OFTEN]:
            lines.append(
                f"{counted(count, 'dead letter')} passed over: sent again {self.most_replays} times or more already"
                " (--force sends them all the same)"
            )
        for topic, count in self._others.most_common(_OTHERS_NAMED):
            came = f"{counted(count, 'dead letter')} passed over: first read in"
            lines.append(
                f"{came} {printable(topic)} (--topic {printable(topic)} sends them there)"
                if topic
                else f"{came} a topic that their headers do not tell (export has them)"
            )
        if rest := self._others.total() - sum(count for _, count in self._others.most_common(_OTHERS_NAMED)):
            lines.append(f"{counted(rest, 'dead letter')} passed over: first read in yet other topics")
        if count := self._verdicts[Verdict.EMPTY]:
            lines.append(f"{counted(count, 'dead letter')} passed over: without a value there is nothing to send")
        return lines


@dataclass(slots=True)
class Forecast:
    """What a redrive may cost, from what the same documents have cost so far."""

    cost_usd: Decimal = Decimal(0)
    known: int = 0
    unknown: int = 0
    unmended: int = 0
    stubs: int = 0

    def add(self, letter: Letter) -> None:
        """Count a letter that would be sent."""
        cost = letter.cost_of_a_run
        self.stubs += bool(stub_parts(letter.record.headers))
        self.unmended += letter.outcome.reason in _OF_THE_RECORD
        if cost is None:
            self.unknown += 1
        else:
            self.known += 1
            self.cost_usd += cost

    @property
    def sentences(self) -> Sequence[str]:
        """The forecast in words."""
        return [*self._cost, *self._unmended, *self._stubs]

    @property
    def _stubs(self) -> list[str]:
        if not self.stubs:
            return []
        them = "1 of them" if self.stubs == 1 else f"{self.stubs:,} of them"
        return [f"{them} without all of the record: that is read back from its topic, and what is gone stays as it is"]

    @property
    def _unmended(self) -> list[str]:
        if not self.unmended:
            return []
        them = f"{self.unmended:,} of them {'is' if self.unmended == 1 else 'are'} {' or '.join(_OF_THE_RECORD)}"
        return [f"{them}: they fail again, unless a mapping (input) was mended; export, mend and send them instead"]

    @property
    def _cost(self) -> list[str]:
        if not self.known:
            return ["what it will cost is not known: no header tells what it has cost"] if self.unknown else []
        cost = (
            f"may cost about {usd(round(self.cost_usd, 6))}, what a run of each has cost on average: less where the"
            " store keeps answers that were paid for, more where a document failed before all its steps were asked"
        )
        return [cost, *([f"no cost is known of {counted(self.unknown, 'dead letter')}"] if self.unknown else [])]
