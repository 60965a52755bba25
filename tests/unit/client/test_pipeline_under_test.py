"""A pipeline on a made-up model takes the service's own path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import docsluice
from docsluice.errors import ConfigurationError
from docsluice.testing import DeadLettered, PipelineUnderTest, recorded
from tests.fakes.outcomes import result

MakePipeline = Callable[..., PipelineUnderTest]

FILE = """
name: mine
mode: {mode}
providers:
  elsewhere:
    base_url: https://nowhere.invalid/v1
    api_key_env: A_KEY_THAT_IS_NOT_SET
tasks:
  - name: summary
    prompt: Summarize.
    model: elsewhere/big
    output: {{type: text, sentences: 2}}
  - name: category
    prompt: Classify.
    model: elsewhere/big
    output: {{type: choice, labels: [billing, other]}}
  - name: names
    prompt: Which names?
    model: elsewhere/big
    output: {{type: list, items: 2}}
"""


@pytest.fixture(params=["fanout", "fused"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A pipeline file of a provider that nobody may call."""
    path = tmp_path / "pipeline.yaml"
    path.write_text(FILE.format(mode=request.param))
    return path


async def test_what_is_written_down_is_answered(docsluice_pipeline: MakePipeline, path: Path) -> None:
    """By task, or by a function of the text. Others get what fits their schema."""
    answers = {"summary": "One. Two.", "category": lambda text: "billing" if "Invoice" in text else "other"}
    pipeline = docsluice_pipeline(path, answers=answers)
    found = await pipeline.process(document_id="d1", text="Invoice 17 is due.", metadata={"lang": "en"})
    assert (found.outputs["summary"], found.outputs["category"]) == ("One. Two.", "billing")
    assert len(found.outputs["names"]) == 2
    assert (found.document_id, found.metadata, found.models["summary"]) == ("d1", {"lang": "en"}, "elsewhere/big")
    assert (await pipeline.process({"document_id": "d2", "text": "A letter."})).outputs["category"] == "other"
    assert {call.status for call in pipeline.calls} == {200}
    assert len(pipeline.calls) in {2, 6}


async def test_an_answer_that_does_not_fit_is_a_dead_letter(docsluice_pipeline: MakePipeline, path: Path) -> None:
    """As it would be in the service, after its repair."""
    pipeline = docsluice_pipeline(path, answers={"category": "nonsense"})
    with pytest.raises(DeadLettered, match="d1: invalid_answer: ") as caught:
        await pipeline.process(document_id="d1", text="T")
    letter = await pipeline.outcome(document_id="d1", text="T")
    assert isinstance(letter, docsluice.DeadLetter)
    assert letter.reason == caught.value.dead_letter.reason == docsluice.DeadLetterReason.INVALID_ANSWER


async def test_a_fault_on_demand_is_met(docsluice_pipeline: MakePipeline, path: Path) -> None:
    """The markers of the rehearsal provider work here, too."""
    letter = await docsluice_pipeline(path).outcome(document_id="d1", text="No. [[rehearse:refusal]]")
    assert isinstance(letter, docsluice.DeadLetter)
    assert letter.reason == "refused"


async def test_recorded_answers_are_found_by_the_text(
    docsluice_pipeline: MakePipeline, path: Path, tmp_path: Path
) -> None:
    """A text without a recording is told, not made up."""
    outputs = {"summary": "It is. Due.", "category": "billing", "names": ["a", "b"]}
    lines = [result(1, outputs=outputs, excerpt="Invoice 17").model_dump(mode="json") | {"kind": "result"}]
    lines += [{"kind": "dead_letter"}]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pipeline = docsluice_pipeline(path, answers=recorded(tmp_path / "results.jsonl"))
    assert (await pipeline.process(document_id="d1", text="Invoice 17 is due.")).outputs == outputs
    with pytest.raises(ConfigurationError, match="none is recorded for the text of document d2"):
        await pipeline.process(document_id="d2", text="Another.")
    (tmp_path / "results.jsonl").write_text("{}")
    with pytest.raises(ConfigurationError, match="line 1 is no result"):
        recorded(tmp_path / "results.jsonl")


async def test_the_model_is_served_to_any_client(docsluice_model: Callable[..., Any]) -> None:
    """As OpenAI's, at an address."""
    schema = {"type": "object", "properties": {"category": {"type": "string"}}, "required": ["category"]}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "An invoice."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    async with (
        docsluice_model({"category": "billing"}) as model,
        aiohttp.ClientSession() as session,
        session.post(f"{model.base_url}/chat/completions", json=body) as response,
    ):
        answer = await response.json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"category": "billing"}


def test_a_misspelt_task_is_told_at_once(docsluice_pipeline: MakePipeline, path: Path) -> None:
    """With the tasks that there are. So is a setting that there is not."""
    with pytest.raises(ConfigurationError, match=r"catgory is no task of .*; there are summary, category, names"):
        docsluice_pipeline(path, answers={"catgory": "billing"})
    with pytest.raises(ConfigurationError, match="modle: no such setting"):
        docsluice_pipeline(path, modle="m")
