"""What the demo says of each document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from docsluice_consumer.tasks.outputs import ChoiceOutput
from docsluice_consumer.tasks.pipeline_file import load_pipeline_file
from docsluice_local import demo_report
from docsluice_local.demo import DOCUMENTS, LOCAL_PIPELINE
from docsluice_local.demo_lines import ENOUGH, estimate_of, lines_of, next_steps, right_labels, seconds_left
from tests.examples import examples
from tests.fakes.outcomes import dead_letter, result_outcome

OUTPUTS = {"category": "health", "summary": "The text tells how bones grow. It tells more.", "keywords": ["a"]}


def test_a_document_is_shown_with_a_sentence() -> None:
    """Its category and its name, and the first sentence of its summary."""
    outcome = result_outcome(1, document_id="how-bones-grow", outputs=OUTPUTS)
    first, second = lines_of(outcome, number=7, expected=30, width=80)
    assert first.plain == " 7/30 ✓ health     how bones grow"
    assert second.plain == "        The text tells how bones grow."


def test_a_dead_letter_says_why() -> None:
    """Nothing is lost without a word."""
    outcome = dead_letter(1, key=b"how-bones-grow", errors={"reason": "too_large", "exception.message": "It is long."})
    first, second = lines_of(outcome, number=30, expected=30, width=80)
    assert first.plain == "30/30 ✗ too_large  how bones grow"
    assert second.plain.strip() == "It is long."


@given(text=st.text(max_size=200), width=st.integers(20, 120))
@settings(max_examples=examples(50))
def test_a_line_fits_the_terminal(text: str, width: int) -> None:
    """Whatever the model says, and in any script."""
    outcome = result_outcome(1, document_id=text or "d", outputs={"category": text, "summary": text})
    assert all(cell_len(line.plain) <= width for line in lines_of(outcome, number=1, expected=9, width=width))


def test_the_rest_is_estimated_from_the_pace() -> None:
    """Not from the first documents, before which the examples were read."""
    ended_at = [20.0, 21.0, 30.0, *(30.0 + 4 * number for number in range(1, 28))]
    assert seconds_left(ended_at[: ENOUGH - 1], expected=30) is None
    assert seconds_left(ended_at[:10], expected=30) == pytest.approx(80)
    assert seconds_left(ended_at, expected=30) == pytest.approx(0)
    assert estimate_of(ended_at[:10], expected=30) == "about 1 minute 20 seconds left"
    assert estimate_of(ended_at[:1], expected=30) == ""


def test_categories_are_judged_by_a_persons() -> None:
    """As far as a person gave some."""
    assert right_labels({"a": "x", "b": "y", "c": "z"}, {"a": "x", "b": "x"}) == (1, 2)


def test_every_document_has_a_label_that_the_pipeline_knows() -> None:
    """Or the number would tell nothing."""
    labels = json.loads(demo_report.LABELS.read_text(encoding="utf-8"))
    assert set(labels) == {path.stem for path in DOCUMENTS.glob("*.txt")}
    (output,) = (task.output for task in load_pipeline_file(LOCAL_PIPELINE).tasks if task.name == "category")
    assert isinstance(output, ChoiceOutput)
    assert set(labels.values()) == set(output.labels)


def test_three_things_are_named_to_try_next() -> None:
    """And none of them names a model that was just used."""
    assert len(list(next_steps(is_local=True))) == 4
    assert not any("demo" in line for line in next_steps(is_local=False))
    assert all(len(line) <= 80 for line in next_steps(is_local=True))
