"""Records, requests and steps to try things on."""

from __future__ import annotations

import json
from typing import Any

from docsluice.messages import Headers
from docsluice_consumer.kafka.records import Record
from docsluice_consumer.llm.chat import ChatRequest, Message, Sampling
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.tasks.step_building import steps_of
from docsluice_consumer.tasks.steps import Step
from tests.fakes.prices import MODEL

SECRET_TEXT = "The patient named Quillon Farrow was seen on Tuesday."
"""A document's text that must turn up in no log line and no message."""

TASKS: tuple[dict[str, Any], ...] = (
    {"name": "summary", "prompt": "Summarize.", "output": {"type": "text", "sentences": 2}},
    {"name": "category", "prompt": "Classify.", "output": {"type": "choice", "labels": ["tech", "other"]}},
)


def record(
    value: bytes | None = None,
    *,
    key: bytes | None = b"doc-1",
    headers: Headers = (),
    offset: int = 42,
    timestamp_ms: int = 1_700_000_000_123,
) -> Record:
    """A record of the input topic as it was read."""
    return Record(
        topic="documents",
        partition=3,
        offset=offset,
        key=key,
        value=value,
        headers=headers,
        timestamp_ms=timestamp_ms,
    )


def document(text: str = SECRET_TEXT, *, document_id: str = "doc-1", offset: int = 42, **more: Any) -> Record:
    """A valid document event as a record."""
    fields = {"document_id": document_id, "text": text, **more}
    return record(json.dumps(fields).encode(), key=document_id.encode(), offset=offset)


def pipeline_file(*tasks: dict[str, Any], **more: Any) -> PipelineFile:
    """A pipeline of these tasks, or of `TASKS`."""
    return PipelineFile.model_validate({"name": "sample", "tasks": list(tasks or TASKS), **more})


def steps(*tasks: dict[str, Any], mode: str = "fanout", **more: Any) -> tuple[Step, ...]:
    """The steps of such a pipeline, with `MODEL` as the model."""
    return steps_of(pipeline_file(*tasks, **more), mode=mode, default_model=MODEL)


def chat_request(
    text: str = "A document.", *, step: str = "summary", model: str = MODEL, max_output_tokens: int | None = None
) -> ChatRequest:
    """One call about a text."""
    return ChatRequest(
        step=step,
        model=model_ref(model),
        messages=(Message("system", "Answer."), Message("user", text)),
        schema={"type": "object", "properties": {step: {"type": "string"}}, "required": [step]},
        sampling=Sampling(max_output_tokens=max_output_tokens),
    )
