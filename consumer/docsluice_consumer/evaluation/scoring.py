"""How far an answer is the expected one, from 0 to 1, for each kind of output. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docsluice.messages import OutputValue
from docsluice_consumer.tasks.outputs import ChoiceOutput, JsonOutput, ListOutput, Output, item_key

NO_ANSWER = "(none)"
"""The column of a confusion matrix for documents that got no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One answer beside the expected one. `found` is None for a document that became a dead letter."""

    document_id: str
    expected: OutputValue
    found: OutputValue | None
    score: float
    excerpt: str = ""
    """How the document begins."""

    @property
    def is_right(self) -> bool:
        """Whether nothing is missing and nothing is wrong."""
        return self.score == 1.0


def measures_of(output: Output) -> tuple[str, ...]:
    """What can be said of such answers in one number. The first is the name of the scores' mean."""
    if isinstance(output, ChoiceOutput):
        return ("accuracy",)
    if isinstance(output, ListOutput):
        return "f1", "precision", "recall"
    return ("match",) if isinstance(output, JsonOutput) else ("overlap",)


def score_of(output: Output, expected: OutputValue, found: OutputValue | None) -> float:
    """How far an answer is the expected one.

    A choice is right or wrong. A list has its F1, an object the share of its fields that are equal. A text has the F1
    of its words.
    """
    if found is None:
        return 0.0
    if isinstance(output, ChoiceOutput):
        return float(found == expected)
    if isinstance(output, ListOutput):
        return _f1(Counter(set(_keys(expected))), Counter(set(_keys(found))))
    if isinstance(output, JsonOutput):
        fields = field_matches(expected, found)
        return sum(fields.values()) / len(fields) if fields else float(expected == found)
    return _f1(Counter(str(expected).casefold().split()), Counter(str(found).casefold().split()))


@dataclass(frozen=True, slots=True)
class Items:
    """The items of all lists, counted: those that were expected and found, found only, and expected only."""

    right: int
    extra: int
    missing: int

    @property
    def precision(self) -> float:
        """Of the items found, the share that was expected."""
        return self.right / found if (found := self.right + self.extra) else 0.0

    @property
    def recall(self) -> float:
        """Of the items expected, the share that was found."""
        return self.right / expected if (expected := self.right + self.missing) else 0.0


def items_of(judged: Sequence[Judged]) -> Items:
    """The items of lists, over all documents."""
    right = extra = missing = 0
    for one in judged:
        expected, found = set(_keys(one.expected)), set(_keys(one.found))
        right += len(expected & found)
        extra += len(found - expected)
        missing += len(expected - found)
    return Items(right, extra, missing)


def confusion_of(judged: Sequence[Judged]) -> Mapping[tuple[str, str], int]:
    """How often a label was expected and another one found."""
    return Counter((str(one.expected), NO_ANSWER if one.found is None else str(one.found)) for one in judged)


def field_matches(expected: OutputValue, found: OutputValue | None) -> dict[str, bool]:
    """By its path, whether a field of the expected object is equal in the other one."""
    there = dict(_leaves(found))
    return {path: path in there and there[path] == value for path, value in _leaves(expected)}


def fields_of(judged: Sequence[Judged]) -> dict[str, float]:
    """By path, the share of documents in which that field of an object was right."""
    right, all_ = Counter[str](), Counter[str]()
    for one in judged:
        for path, is_right in field_matches(one.expected, one.found).items():
            right[path] += is_right
            all_[path] += 1
    return {path: right[path] / count for path, count in all_.items()}


def _f1(expected: Counter[str], found: Counter[str]) -> float:
    if not expected and not found:
        return 1.0
    return 2 * (expected & found).total() / (expected.total() + found.total())


def _keys(value: Any) -> Iterator[str]:
    return (item_key(str(item)) for item in (value if isinstance(value, list) else ()))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}" if path else name)
    elif path:
        yield path, value
