"""Selects the meant dead letters. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from docsluice.kafka.batch_reading import flaw_of
from docsluice.outcomes.outcome import FetchedRecord, Unreadable, outcome_of
from docsluice_producer.command_line.numbers import counted, printable
from docsluice_producer.dead_letters.letter import Letter, Source
from docsluice_producer.dead_letters.marks import Handled, Place, State

_NAMED = 10
REMEMBERED = 1_000_000
"""Identities kept to recognise repeats, about 110 MB at most."""
_FOR_EVER_MS = 2**63


class States(Protocol):
    """Knows what was done about each dead letter."""

    def handled(self, place: Place, timestamp_ms: int) -> Handled | None:
        """See `Marks.handled`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Conditions on a dead letter. An empty set, or None, is no condition.

    With both `source` and `document_id`, either one is enough.
    """

    reasons: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    document_id: str | None = None
    source: Source | None = None
    handled_too: bool = False

    def fits(self, letter: Letter) -> bool:
        """Whether a letter meets the conditions."""
        outcome = letter.outcome
        return (
            (not self.reasons or outcome.reason in self.reasons)
            and (not self.steps or outcome.step in self.steps)
            and (self.document_id is None or outcome.document_id == self.document_id or self._is_source_of(letter))
        )

    def _is_source_of(self, letter: Letter) -> bool:
        return self.source is not None and letter.is_from(self.source)


class Selection:
    """Picks the wanted dead letters out of a topic's records, and counts what it skips.

    A dead letter that comes again, as it may with at-least-once delivery, is taken the first time only. One that was
    written after the first had been redriven or dropped is another: the record was read again, and has failed again.
    """

    def __init__(self, *, wanted: Wanted, say: Callable[[str], None]) -> None:
        self.handled = 0
        self.repeats = 0
        self.unreadable = 0
        self._wanted = wanted
        self._say = say
        self._repeated_until_ms: dict[int, int] = {}
        """By identity, until when later writes are the same failure."""

    def take(self, record: FetchedRecord, states: States) -> Letter | None:
        """The dead letter in a record. None if it is none, or not wanted."""
        outcome = outcome_of(record)
        if isinstance(outcome, Unreadable) or not outcome.is_dead_letter:
            flaw = flaw_of(record)
            missing = flaw.problem if flaw is not None else "no header of it gives a reason"
            self._pass_over(record, missing if isinstance(outcome, Unreadable) else "it is a result")
            return None
        handled = states.handled(Place(record.partition, record.offset), record.timestamp)
        letter = Letter(record=record, outcome=outcome, state=handled.state if handled else State.OPEN)
        # Of all, wanted or not: a repeat may have another reason and is still the same dead letter.
        is_new = self._is_new(letter, until_ms=handled.at_ms if handled else _FOR_EVER_MS)
        if not self._wanted.fits(letter):
            return None
        if not is_new:
            self.repeats += 1
            return None
        if handled and not self._wanted.handled_too:
            self.handled += 1
            return None
        return letter

    @property
    def remarks(self) -> list[str]:
        """What was skipped, a line for each kind."""
        handled = f"{self.handled:,} handled already (redriven or dropped; list --all shows them)"
        others = "record is no dead letter" if self.unreadable == 1 else "records are no dead letters"
        lines = [handled] if self.handled else []
        lines += [f"{counted(self.repeats, 'repeat')} of others"] if self.repeats else []
        lines += [f"{self.unreadable:,} {others}"] if self.unreadable else []
        return lines

    def _is_new(self, letter: Letter, *, until_ms: int) -> bool:
        """Whether a letter is no repeat. Its own repeats are written by `until_ms`."""
        identity, seen = hash(letter.identity), self._repeated_until_ms
        if identity in seen and letter.record.timestamp <= seen[identity]:
            return False
        if identity in seen or len(seen) < REMEMBERED:
            seen[identity] = until_ms
        return True

    def _pass_over(self, record: FetchedRecord, problem: str) -> None:
        self.unreadable += 1
        if self.unreadable <= _NAMED:
            self._say(printable(f"{Place(record.partition, record.offset)}: no dead letter: {problem}"))
