"""Whose fault a failed call is: the world's or the document's. Pure.

One status may be either. A 403 is the account's affair while nobody is answered, and the document's while all others
are. So a call is judged by the calls beside it, to the same model and for the same step. A server may refuse one step
and take the others.

A refusal that fits both is retried while it is new. It is the world's once several documents were refused and none was
answered, or once a text of our own is refused too. It is the document's once it was refused again and again while
others were answered between. The number must be so high that a sound document hardly ever reaches it.

A failure (a 5xx, a broken connection) may always be the world's. It speaks against a document only as far as sound
documents fare better. At 90 % failures, five in a row are nothing special. A document is known to be sound once it is
answered. Until then its failures are no measure for others. Otherwise documents that always fail would excuse each
other.

An overload (a 429, a timeout) is a document's own affair if others are answered between two of them. Admission finds
out what all other overloads say about the pace.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from docsluice_consumer.errors import AnswerUnreadable, AttemptFailed, CallRefused, QuotaExhausted
from docsluice_consumer.model_ref import ModelRef

_DOCUMENTS_REFUSED_ALIKE = 3
"""This many documents in a row, with nobody answered between, cannot all be at fault."""
_DOCUMENTS_WITHOUT_QUOTA = 2
"""The account may have too little left for one large document, and enough for the others."""
_TRIES_ALONE = 3
"""How often a refusal is met before a text of our own tells whose fault it is."""
_FAILURES_ALONE = 5
"""The same for failures. Another model of the chain has been asked by then, if there is one."""
_EVIDENCE = math.log(1e8)
"""A sound document reaches this once in a hundred million."""
_EVIDENCE_OF_REFUSAL = math.log(1e3)
"""A refusal that may well be a document's fault needs less evidence: servers seldom refuse at random."""
_UNREADABLE_ALONE = 4
"""If nobody is answered, this many times the attempts may end unreadably. Each may be paid for."""

Way: TypeAlias = tuple[ModelRef, str]
"""A step at a model: its calls fare alike."""


class Verdict(Enum):
    """Whose fault a refusal is."""

    DOCUMENT = "document"
    WORLD = "world"
    OPEN = "open"
    """Not known yet: retry."""


@dataclass(slots=True)
class _Record:
    """How the calls of one way have ended in this run."""

    completed: int = 0
    answered: int = 0
    """Calls that were completed, or rejected for a reason that only their own document can have."""
    last_answered: int = 0
    """The latest sent of the answered calls. Calls sent before a fault say nothing about the time after it."""
    failed: int = 0
    """Calls that failed or were refused, of documents that were answered in the end, and of texts of our own."""
    in_flight: set[int] = field(default_factory=set)
    outstanding: set[int] = field(default_factory=set)
    """Of the calls in flight when refusals began, those that may still be answered."""
    refused: set[Hashable] = field(default_factory=set)
    """Documents that were refused since the last answer."""
    refused_since: int = 0
    """The last call that was sent when the first of them was refused."""


class CallHistory:
    """How all calls of this run have ended, by way."""

    def __init__(self) -> None:
        self._records: defaultdict[Way, _Record] = defaultdict(_Record)
        self._answers: Counter[ModelRef] = Counter()
        self._calls = 0

    def of(self, way: Way) -> _Record:
        """One way's record."""
        return self._records[way]

    def has_answered(self, model: ModelRef) -> bool:
        """Whether a model has answered any call in this run."""
        return self._answers[model] > 0

    def has_completed(self, way: Way) -> bool:
        """Whether a call of a way has been completed in this run."""
        return self._records[way].completed > 0

    def answers_other_steps(self, way: Way) -> bool:
        """Whether the model has answered a call of another step that was sent after the refusals of this one began."""
        since = self._records[way].refused_since
        return any(record.last_answered > since for record in self._of_other_steps(way))

    def may_answer_other_steps(self, way: Way) -> bool:
        """Whether the model has a call of another step in flight."""
        return any(record.in_flight for record in self._of_other_steps(way))

    def _of_other_steps(self, way: Way) -> Iterator[_Record]:
        """The same model's records."""
        model, step = way
        return (record for other, record in self._records.items() if other[0] == model and other[1] != step)

    @property
    def latest(self) -> int:
        """The number of the call that was sent last."""
        return self._calls

    def sent(self, way: Way) -> int:
        """Note that a call goes out. Returns its number, for `ended`."""
        self._calls += 1
        self._records[way].in_flight.add(self._calls)
        return self._calls

    def ended(self, way: Way, call: int) -> None:
        """Note that a call is over. Report first what it has shown, if anything."""
        record = self._records[way]
        record.in_flight.discard(call)
        record.outstanding.discard(call)

    def answered(self, way: Way, call: int) -> None:
        """A call was completed."""
        self._records[way].completed += 1
        self.judged(way, call)

    def judged(self, way: Way, call: int) -> None:
        """Note a call rejected for a reason that only its own document can have: the provider is well."""
        record = self._records[way]
        record.answered += 1
        record.last_answered = max(record.last_answered, call)
        record.refused.clear()
        record.outstanding.clear()
        self._answers[way[0]] += 1

    def failed(self, way: Way, *, times: int = 1) -> None:
        """Note `times` failures or refusals of a sound text."""
        self._records[way].failed += times

    def refused(self, way: Way, call: int, *, document: Hashable) -> None:
        """Note a refusal that may be meant for all calls."""
        record = self._records[way]
        if not record.refused:
            record.outstanding = record.in_flight - {call}
            record.refused_since = self._calls
        record.outstanding.discard(call)
        record.refused.add(document)


@dataclass(slots=True)
class _Course:
    """The refusals, or the failures, of one question on one way."""

    answered_before: int
    failed_before: int
    since: int
    """The last call that was sent when the first was met, or when another call last told something."""
    met: int = 0
    counted: int = 0

    def meet(self, record: _Record, *, latest: int, may_count: bool) -> bool:
        """Note one more. Returns whether a call that was sent since the one before it was answered.

        Only then it counts.
        """
        self.met += 1
        is_told = record.last_answered > self.since
        if is_told:
            self.counted += may_count
            self.since = latest
        return is_told

    def evidence(self, record: _Record) -> float:
        """How unlikely this many are for a sound document, as a logarithm, by how sound ones fared meanwhile."""
        answered = record.answered - self.answered_before
        failed = record.failed - self.failed_before
        return self.counted * math.log((failed + answered + 2) / (failed + 1))


class Blame:
    """What speaks against a question's document. `document` tells it from other documents."""

    def __init__(self, *, history: CallHistory, max_attempts: int, document: Hashable) -> None:
        self._history = history
        self._max_attempts = max_attempts
        self._document = document
        self._refusals: dict[Way, _Course] = {}
        self._failures: dict[Way, _Course] = {}
        self._overloaded: dict[Way, int] = {}
        self._alone = 0
        self._unreadable = 0

    def refused(self, fault: CallRefused | QuotaExhausted, *, way: Way, call: int, is_failing: bool) -> Verdict:
        """Note a refusal, and return whose fault it is. `is_failing`: the model is known to refuse everybody.

        An empty account is the world's, unless others are answered after all.
        """
        mine = self._course_of(self._refusals, way)
        self._history.refused(way, call, document=self._document)
        record = self._history.of(way)
        mine.meet(record, latest=self._history.latest, may_count=not is_failing)
        is_certain = isinstance(fault, QuotaExhausted) or fault.is_certain
        if mine.counted:
            enough = _EVIDENCE if is_certain else _EVIDENCE_OF_REFUSAL
            return Verdict.DOCUMENT if mine.evidence(record) >= enough else Verdict.OPEN
        if isinstance(fault, QuotaExhausted) and len(record.refused) >= _DOCUMENTS_WITHOUT_QUOTA:
            return Verdict.WORLD
        if record.outstanding:
            return Verdict.OPEN
        if isinstance(fault, QuotaExhausted):
            return Verdict.WORLD
        if is_certain and not self._history.has_answered(way[0]):
            return Verdict.WORLD
        return Verdict.WORLD if len(record.refused) >= _DOCUMENTS_REFUSED_ALIKE else Verdict.OPEN

    def needs_trial(self, way: Way) -> bool:
        """Whether a text of our own must tell whose fault a refusal is, because no other document's call does."""
        mine, record = self._refusals[way], self._history.of(way)
        is_told = record.last_answered > mine.since
        return mine.met >= _TRIES_ALONE and not is_told and not record.outstanding

    def fails_alone(self, way: Way) -> bool:
        """Whether a text of our own must tell whether a failure is the provider's, because no other call does.

        Call this before the failure is noted. Calls in flight do not count: if each document waits for its timeout,
        there always are some.
        """
        mine, record = self._course_of(self._failures, way), self._history.of(way)
        return mine.met >= _FAILURES_ALONE and record.last_answered <= mine.since

    def failed(self, fault: AttemptFailed, *, way: Way, is_failing: bool) -> None:
        """Note a failure. `is_failing`: the model is known to fail everybody."""
        mine = self._course_of(self._failures, way)
        before = mine.counted
        may_count = fault.blames_document and not is_failing
        latest = self._history.latest
        fault.speaks_of_document = mine.meet(self._history.of(way), latest=latest, may_count=may_count)
        if isinstance(fault, AnswerUnreadable):
            self._unreadable += 1 if mine.counted == before else _UNREADABLE_ALONE

    def answered(self) -> None:
        """Note that the document was answered. Its earlier failures were not its own fault."""
        for courses in (self._refusals, self._failures):
            for way, mine in courses.items():
                self._history.failed(way, times=mine.met)

    def overloaded(self, fault: AttemptFailed, *, way: Way) -> None:
        """Note a 429 or a timeout, and mark whether it can say anything about the pace of all calls.

        It says nothing once others were answered between two of this document's. Only a document's first one counts for
        the pace. Ten documents that are always refused would otherwise teach a limit that does not exist.
        """
        latest, last_answered = self._history.latest, self._history.of(way).last_answered
        is_alone = last_answered > self._overloaded.get(way, latest)
        fault.teaches = way not in self._overloaded
        self._overloaded[way] = latest
        self._alone += is_alone
        fault.times_alone = self._alone

    @property
    def is_exhausted(self) -> bool:
        """Whether the document is to blame for its failures.

        An answer that cannot be read while others are answered is a full attempt, for it may have been paid for.
        """
        if self._unreadable >= self._max_attempts * _UNREADABLE_ALONE:
            return True
        if sum(mine.counted for mine in self._failures.values()) < self._max_attempts:
            return False
        evidence = sum(mine.evidence(self._history.of(way)) for way, mine in self._failures.items())
        return evidence >= _EVIDENCE

    def _course_of(self, courses: dict[Way, _Course], way: Way) -> _Course:
        record = self._history.of(way)
        return courses.setdefault(way, _Course(record.answered, record.failed, self._history.latest))
