"""How far an answer is the expected one, beside scikit-learn's view of the same answers."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from docsluice_consumer.evaluation.scoring import (
    NO_ANSWER,
    Items,
    Judged,
    confusion_of,
    field_matches,
    fields_of,
    items_of,
    measures_of,
    score_of,
)
from docsluice_consumer.tasks.outputs import Output

LABELS = ["bug", "billing", "other"]
OUTPUT: TypeAdapter[Output] = TypeAdapter(Output)
CHOICE = OUTPUT.validate_python({"type": "choice", "labels": LABELS})
LIST = OUTPUT.validate_python({"type": "list", "items": 3})
TEXT = OUTPUT.validate_python({"type": "text"})
OBJECT = OUTPUT.validate_python(
    {"type": "json", "schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}
)
ITEMS = ["tax", "paid", "late", "refund", "card"]
WORDS = st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4, unique=True)


@pytest.fixture(scope="module")
def metrics() -> ModuleType:
    """Imported when asked for: scikit-learn takes a second and a half in each process that collects tests."""
    import sklearn.metrics  # noqa: PLC0415 - see above

    module: ModuleType = sklearn.metrics
    return module


def _judged(output: Output, expected: Any, found: Any) -> Judged:
    return Judged(document_id="d", expected=expected, found=found, score=score_of(output, expected, found))


def _mean(judged: list[Judged]) -> float:
    return sum(one.score for one in judged) / len(judged)


@given(pairs=st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_choices_are_counted_as_scikit_learn_counts_them(metrics: ModuleType, pairs: list[tuple[str, str]]) -> None:
    """Accuracy, and the matrix of what was taken for what."""
    judged = [_judged(CHOICE, expected, found) for expected, found in pairs]
    expected, found = zip(*pairs, strict=True)
    assert _mean(judged) == pytest.approx(metrics.accuracy_score(expected, found))
    matrix = metrics.confusion_matrix(expected, found, labels=LABELS)
    counts = confusion_of(judged)
    assert [[counts.get((row, column), 0) for column in LABELS] for row in LABELS] == matrix.tolist()


@given(pairs=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=30))
def test_lists_are_counted_as_scikit_learn_counts_them(
    metrics: ModuleType, pairs: list[tuple[list[str], list[str]]]
) -> None:
    """The mean of the documents' F1, and precision and recall over all items."""
    judged = [_judged(LIST, expected, found) for expected, found in pairs]
    expected, found = ([[item in pair[side] for item in ITEMS] for pair in pairs] for side in (0, 1))
    assert _mean(judged) == pytest.approx(metrics.f1_score(expected, found, average="samples"))
    items = items_of(judged)
    assert items.precision == pytest.approx(metrics.precision_score(expected, found, average="micro", zero_division=0))
    assert items.recall == pytest.approx(metrics.recall_score(expected, found, average="micro"))


def test_items_are_compared_without_case_and_order() -> None:
    """People's labels are not written as a model writes."""
    assert score_of(LIST, ["Tax", "paid"], ["PAID", "tax"]) == 1.0
    assert score_of(LIST, ["tax", "paid"], ["tax", "late"]) == 0.5


def test_no_items_anywhere_are_no_division_by_nothing() -> None:
    """Neither precision nor recall is asked of nothing."""
    assert (Items(0, 0, 0).precision, Items(0, 0, 0).recall) == (0.0, 0.0)
    assert score_of(LIST, [], []) == 1.0


def test_an_object_has_the_share_of_its_fields() -> None:
    """Those inside others count by their path. What was not expected does not count."""
    expected, found = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "d": [1], "e": 5}
    assert field_matches(expected, found) == {"a.b": True, "a.c": False, "d": True}
    assert score_of(OBJECT, expected, found) == pytest.approx(2 / 3)
    judged = [_judged(OBJECT, expected, found), _judged(OBJECT, {"d": [2]}, None)]
    assert fields_of(judged) == {"a.b": 1.0, "a.c": 0.0, "d": 0.5}


def test_a_text_has_the_f1_of_its_words() -> None:
    """Two of three words on either side."""
    assert score_of(TEXT, "It is late", "it is early") == pytest.approx(2 / 3)
    assert score_of(TEXT, "It is late", "IT is late") == 1.0


@pytest.mark.parametrize(
    ("output", "expected"), [(CHOICE, "bug"), (LIST, ["tax"]), (TEXT, "It is late"), (OBJECT, {"a": "x"})]
)
def test_no_answer_is_a_wrong_one(output: Output, expected: Any) -> None:
    """A dead letter must not make a model look better."""
    judged = _judged(output, expected, None)
    assert (judged.score, judged.is_right) == (0.0, False)
    assert confusion_of([judged]) == {(str(expected), NO_ANSWER): 1}


def test_each_kind_has_its_measure() -> None:
    """By which `--min` names it."""
    assert [measures_of(one)[0] for one in (CHOICE, LIST, OBJECT, TEXT)] == ["accuracy", "f1", "match", "overlap"]
