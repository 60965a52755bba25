"""Whose fault a call's end is: the world's or the document's. Pure.

The same status may be either. A 403 is the account's affair while nobody is answered, and the document's while all
others are. So a call is judged by the calls beside it: of the same model, and of the same step, for a server may refuse
what one step asks for and take the others.

A refusal that fits both is tried again while it is new. It is the document's once others were answered between two of
its refusals. It is the world's once several documents were refused and none was answered; where the model has answered
nobody yet, a call about a text of our own is to confirm that.

A failure (a 5xx, a broken connection) may always be the world's. It speaks against a document only as far as the calls
of others fare better: at 90 % failures, five in a row are nothing special.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from consumer.errors import AnswerUnreadable, AttemptFailed, CallRefused, RateLimited
from consumer.model_ref import ModelRef

_DOCUMENTS_REFUSED_ALIKE = 3
"""So many, with nobody answered between, have not all something wrong with them."""
_TRIES_ALONE = 3
"""So often is a refusal tried again where no other document's call could tell whose fault it is."""
_EVIDENCE = math.log(1e8)
"""A sound document fails so often, among the calls of others, once in a hundred million."""

Way: TypeAlias = tuple[ModelRef, str]
"""Calls of one step to one model fare alike."""


class Verdict(Enum):
    """Whose fault a refusal is."""

    DOCUMENT = "document"
    WORLD = "world"
    OPEN = "open"
    """It is not known yet: try again."""


@dataclass(slots=True)
class _Record:
    """How the calls of one way have ended, in this run."""

    answered: int = 0
    last_answered: int = 0
    """The latest sent of the calls that were answered: those sent before a fault say nothing of the time after it."""
    failed: int = 0
    in_flight: set[int] = field(default_factory=set)
    outstanding: set[int] = field(default_factory=set)
    """Of the calls in flight when refusals began, those that may still be answered."""
    refused: set[Hashable] = field(default_factory=set)
    """Documents that were refused since somebody was answered."""


class CallHistory:
    """How all calls of this run have ended, by the way they went."""

    def __init__(self) -> None:
        self._records: defaultdict[Way, _Record] = defaultdict(_Record)
        self._models_answered: set[ModelRef] = set()
        self._calls = 0

    def of(self, way: Way) -> _Record:
        """One way's record."""
        return self._records[way]

    def has_answered(self, model: ModelRef) -> bool:
        """Whether a model has answered anybody in this run."""
        return model in self._models_answered

    @property
    def latest(self) -> int:
        """The number of the call that was sent last."""
        return self._calls

    def sent(self, way: Way) -> int:
        """A call goes out. Returns its number, for `ended`."""
        self._calls += 1
        self._records[way].in_flight.add(self._calls)
        return self._calls

    def ended(self, way: Way, call: int) -> None:
        """A call is over; tell before what it has shown, if anything."""
        record = self._records[way]
        record.in_flight.discard(call)
        record.outstanding.discard(call)

    def answered(self, way: Way, call: int) -> None:
        """A call was answered, or refused for something that only its own document can have."""
        record = self._records[way]
        record.answered += 1
        record.last_answered = max(record.last_answered, call)
        record.refused.clear()
        record.outstanding.clear()
        self._models_answered.add(way[0])

    def failed(self, way: Way) -> None:
        """A call met a failure."""
        self._records[way].failed += 1

    def refused(self, way: Way, call: int, *, document: Hashable) -> None:
        """A call was refused in a way that may be meant for all."""
        record = self._records[way]
        if not record.refused:
            record.outstanding = record.in_flight - {call}
        record.outstanding.discard(call)
        record.refused.add(document)


@dataclass(slots=True)
class _Failures:
    """One question's failures on one way."""

    answered_before: int
    failed_before: int
    since: int
    """The call that was sent last when the first was met, or the last that counted. One sent later must be answered."""
    met: int = 0
    counted: int = 0


class Blame:
    """One question's: what speaks against its document. `document` tells it from other documents."""

    def __init__(self, *, history: CallHistory, max_attempts: int, document: Hashable) -> None:
        self._history = history
        self._max_attempts = max_attempts
        self._document = document
        self._refusals: dict[Way, list[int]] = {}
        """The call that was sent last when each was met."""
        self._failures: dict[Way, _Failures] = {}
        self._rate_limited: dict[Way, int] = {}
        self._unreadable = 0
        self._is_odd = False

    def refused(self, fault: CallRefused, *, way: Way, call: int) -> Verdict:
        """Take note of a refusal, and say whose fault it is."""
        self._history.refused(way, call, document=self._document)
        record, refusals = self._history.of(way), self._refusals.setdefault(way, [])
        refusals.append(self._history.latest)
        has_answered = self._history.has_answered(way[0])
        if record.last_answered > refusals[0]:
            return Verdict.DOCUMENT
        if fault.is_certain and not has_answered:
            return Verdict.WORLD
        if record.outstanding:
            return Verdict.OPEN
        if len(record.refused) >= _DOCUMENTS_REFUSED_ALIKE:
            return Verdict.WORLD
        if len(refusals) < _TRIES_ALONE:
            return Verdict.OPEN
        return Verdict.DOCUMENT if has_answered and len(record.refused) == 1 else Verdict.WORLD

    def failed(self, fault: AttemptFailed, *, way: Way, is_failing: bool) -> None:
        """Take note of a failure; `is_failing` when the model is known to fail everybody."""
        record = self._history.of(way)
        latest = self._history.latest
        mine = self._failures.setdefault(way, _Failures(record.answered, record.failed, latest))
        self._history.failed(way)
        mine.met += 1
        if isinstance(fault, AnswerUnreadable):
            self._unreadable += 1
        elif fault.blames_document and not is_failing and record.last_answered > mine.since:
            mine.counted += 1
            mine.since = latest

    def rate_limited(self, fault: RateLimited, *, way: Way) -> None:
        """Take note of a 429, and of whether it has anything to do with other calls.

        Where others were answered since the one before it, it has not: then this question pauses, and nobody else.
        After that it is to be the first after a pause once more, or a large one would never find enough left.
        """
        latest = self._history.latest
        if self._history.of(way).last_answered > self._rate_limited.setdefault(way, latest):
            del self._rate_limited[way]
            self._is_odd, fault.holds_others = True, False
        fault.teaches = not self._is_odd

    @property
    def is_exhausted(self) -> bool:
        """Whether the document is to blame for its failures.

        Of answers that could not be read, each is a full attempt: they may have been paid for.
        """
        counted = sum(mine.counted for mine in self._failures.values())
        if self._unreadable + counted < self._max_attempts:
            return False
        evidence = sum(self._evidence(way, mine) for way, mine in self._failures.items())
        return evidence + self._unreadable * _EVIDENCE / self._max_attempts >= _EVIDENCE

    def _evidence(self, way: Way, mine: _Failures) -> float:
        """How unlikely so many failures are for a sound document, as a logarithm."""
        record = self._history.of(way)
        answered = record.answered - mine.answered_before
        failed = record.failed - mine.failed_before - mine.met
        return mine.counted * math.log((failed + answered + 2) / (failed + 1))
