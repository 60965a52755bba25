"""Which dead letters are meant. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from producer.dead_letters.letter import Letter, Source
from producer.dead_letters.marks import Place, State
from producer.following.outcome import FetchedRecord, Unreadable, outcome_of
from producer.printable import counted, printable

_NAMED = 10
REMEMBERED = 1_000_000
"""Identities kept to know a repeat by, some 70 MB at most."""


class States(Protocol):
    """Knows what was done about each dead letter."""

    def state_of(self, place: Place, timestamp_ms: int) -> State:
        """See `Marks.state_of`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a dead letter must be like. An empty set, or None, asks for nothing.

    With a `source` beside a `document_id`, one that was first read there is as good as one of that document.
    """

    reasons: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    document_id: str | None = None
    source: Source | None = None
    handled_too: bool = False

    def fits(self, letter: Letter) -> bool:
        """Whether the letter is like that."""
        outcome = letter.outcome
        return (
            (not self.reasons or outcome.reason in self.reasons)
            and (not self.steps or outcome.step in self.steps)
            and (self.document_id is None or outcome.document_id == self.document_id or self._is_source_of(letter))
        )

    def _is_source_of(self, letter: Letter) -> bool:
        return self.source is not None and letter.is_from(self.source)

    @property
    def is_narrow(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.reasons or self.steps or self.document_id is not None)


class Selection:
    """Picks the wanted ones out of a topic's records, and counts what it passes over.

    A dead letter that comes again, as it may with at-least-once delivery, is taken the first time only.
    """

    def __init__(self, *, wanted: Wanted, say: Callable[[str], None]) -> None:
        self.handled = 0
        self.repeats = 0
        self.unreadable = 0
        self._wanted = wanted
        self._say = say
        self._seen: set[int] = set()

    def take(self, record: FetchedRecord, states: States) -> Letter | None:
        """The dead letter that a record is; None when it is none, or not a wanted one."""
        outcome = outcome_of(record)
        if isinstance(outcome, Unreadable) or not outcome.is_dead_letter:
            self._pass_over(
                record, "no header of it gives a reason" if isinstance(outcome, Unreadable) else "it is a result"
            )
            return None
        state = states.state_of(Place(record.partition, record.offset), record.timestamp)
        letter = Letter(record=record, outcome=outcome, state=state)
        if not self._wanted.fits(letter):
            return None
        if not self._is_new(letter):
            self.repeats += 1
            return None
        if state is not State.OPEN and not self._wanted.handled_too:
            self.handled += 1
            return None
        return letter

    @property
    def remarks(self) -> list[str]:
        """What was passed over, a line for each kind."""
        handled = f"{self.handled:,} handled already (redriven or dropped; list --all shows them)"
        others = "record is no dead letter" if self.unreadable == 1 else "records are no dead letters"
        lines = [handled] if self.handled else []
        lines += [f"{counted(self.repeats, 'repeat')} of others"] if self.repeats else []
        lines += [f"{self.unreadable:,} {others}"] if self.unreadable else []
        return lines

    def _is_new(self, letter: Letter) -> bool:
        identity = hash(letter.identity)
        if identity in self._seen:
            return False
        if len(self._seen) < REMEMBERED:
            self._seen.add(identity)
        return True

    def _pass_over(self, record: FetchedRecord, problem: str) -> None:
        self.unreadable += 1
        if self.unreadable <= _NAMED:
            self._say(printable(f"{Place(record.partition, record.offset)}: no dead letter: {problem}"))
