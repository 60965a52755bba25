"""Prompts may use a document's metadata. The document itself stays in its own turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from docsluice.messages import DocumentEvent
from docsluice_consumer.errors import ConfigurationError, RecordRejected
from docsluice_consumer.tasks.pipeline_file import load_pipeline_file
from docsluice_consumer.tasks.prompts import MOST_CHARACTERS
from docsluice_consumer.tasks.steps import Step
from tests.fakes.samples import SECRET_TEXT, TASKS, steps
from tests.fakes.yaml_problems import without_place

PROMPT = "Summarize for {{ metadata.audience }}."
FOR_AUDIENCE = {"name": "summary", "prompt": PROMPT, "output": {"type": "text", "sentences": 2}}


def _step(prompt: str = PROMPT, **more: Any) -> Step:
    (step,) = steps(FOR_AUDIENCE | {"prompt": prompt, **more})
    return step


def _event(**metadata: Any) -> DocumentEvent:
    return DocumentEvent(document_id="doc-1", text=SECRET_TEXT, metadata=metadata)


def _system(step: Step) -> str:
    return step.preamble[0].content


def _rejection(step: Step, event: DocumentEvent) -> str:
    with pytest.raises(RecordRejected) as caught:
        step.about(event)
    assert caught.value.reason == "invalid_event"
    assert caught.value.step is None
    assert caught.value.__suppress_context__
    return str(caught.value)


def test_metadata_are_put_into_a_prompt() -> None:
    """Numbers and booleans as text, and the document's name if asked for."""
    step = _step("Summarize {{ document_id }} for {{ metadata.audience }}, {{ metadata.pages }}, {{ metadata.ok }}.")
    about = step.about(_event(audience="nurses", pages=3, ok=True))
    assert _system(about) == "Summarize doc-1 for nurses, 3, true.\nAnswer with one JSON object."
    assert about.filled_prompts == ("Summarize doc-1 for nurses, 3, true.",)


def test_a_value_is_put_in_once() -> None:
    """Braces in it are braces."""
    about = _step().about(_event(audience="{{ document_id }}"))
    assert _system(about).startswith("Summarize for {{ document_id }}.")


def test_the_document_is_out_of_reach() -> None:
    """It stays in the turn of the user, where it is no instruction."""
    about = _step().about(_event(audience="nurses"))
    request = about.request(SECRET_TEXT)
    assert [SECRET_TEXT in message.content for message in request.messages] == [False, True]


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("{{ text }}", "{{ text }} uses text; a prompt can use metadata and document_id"),
        ("{{ join(' ', [metadata.a, meta.b]) }}", "{{ join(' ', [metadata.a, meta.b]) }} uses meta; a prompt can"),
        ("{{ $key }}", "{{ $key }} has the unknown name $key; two braces"),
        ('Answer {{"a": 1}}', '{{ "a": 1 }} is not JMESPath near : 1; names with other'),
    ],
)
def test_what_a_prompt_cannot_use_is_told_at_the_start(tmp_path: Path, prompt: str, problem: str) -> None:
    """And not by each document."""
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump({"name": "n", "tasks": [FOR_AUDIENCE | {"prompt": prompt}]}), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline_file(path)
    assert without_place(str(caught.value), path).startswith(f"tasks.summary.prompt: {problem}")


def test_metadata_that_are_missing_are_the_records_fault() -> None:
    """The message names them, and how a default is written."""
    assert _rejection(_step(), _event()) == (
        "the prompt of summary: {{ metadata.audience }} is missing; "
        "a default is written {{ metadata.audience || 'everyone' }}"
    )


def test_a_default_is_used_where_there_is_nothing() -> None:
    """It is written in the prompt itself."""
    step = _step("Summarize for {{ metadata.audience || 'everyone' }}.")
    assert _system(step.about(_event())).startswith("Summarize for everyone.")


def test_what_is_put_into_a_prompt_is_bounded() -> None:
    """Metadata come from strangers, and a prompt is paid for with every call."""
    step = _step()
    assert len(_system(step.about(_event(audience="x" * MOST_CHARACTERS)))) > MOST_CHARACTERS
    problem = _rejection(step, _event(audience="x" * (MOST_CHARACTERS + 1)))
    assert problem == "the prompt of summary: {{ metadata.audience }} has 1,001 characters, and a prompt takes 1,000"


def test_metadata_that_do_not_fit_are_the_records_fault() -> None:
    """A stranger's number is no bug of ours."""
    problem = _rejection(_step("{{ length(metadata.audience) }}"), _event(audience=5))
    assert problem == "the prompt of summary: length() takes string or array or object, not number"


def test_another_audience_is_another_question() -> None:
    """And other metadata that no prompt uses are not."""
    step = _step()

    def fingerprint(**metadata: Any) -> str:
        return step.about(_event(**metadata)).fingerprint("T")

    assert fingerprint(audience="nurses") == fingerprint(audience="nurses", other=1)
    assert len({fingerprint(audience="nurses"), fingerprint(audience="doctors"), step.fingerprint("T")}) == 3


def test_a_prompt_without_placeholders_is_the_step_itself() -> None:
    """So its fingerprint stays, and nothing is worked out for a document."""
    for step in steps(*TASKS):
        assert step.about(_event(audience="nurses")) is step
        assert step.filled_prompts == ()


def test_tasks_that_share_a_call_share_the_metadata() -> None:
    """Each line of the system message is filled, and the examples stay."""
    (step,) = steps(FOR_AUDIENCE, TASKS[1], mode="fused", instructions="Be {{ brief }}.")
    about = step.about(_event(audience="nurses"))
    assert _system(about).splitlines()[:3] == [
        "Be {{ brief }}.",
        "- summary: Summarize for nurses.",
        "- category: Classify.",
    ]
    assert about.preamble[1:] == step.preamble[1:]


def test_the_questions_about_parts_are_filled_too() -> None:
    """Those that make one answer of the answers about a long document's parts."""
    about = _step(long="split").about(_event(audience="nurses"))
    asked = [_system(share) for one in about.condensing for plan in one.plans for share in plan]
    assert asked
    assert all(text.startswith("Summarize for nurses.") for text in asked)


def test_a_repair_knows_the_prompt_that_was_asked() -> None:
    """An answer that repeats the prompt is told by the words that the model has read."""
    about = _step().about(_event(audience="nurses"))
    assert [task.prompt for task in about.tasks] == ["Summarize for nurses."]
