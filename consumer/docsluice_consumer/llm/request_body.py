"""The body of one request, without what its model is known not to take."""

from __future__ import annotations

import json
from typing import Any

from docsluice_consumer.llm.capabilities import (
    KEYWORDS,
    NO_JSON_OBJECT,
    NO_JSON_SCHEMA,
    OUTPUT_BOUNDS,
    RESPONSE_FORMAT,
    STRICT,
    SYSTEM_ROLE,
    Knowledge,
    Sent,
    asked_for,
    keywords_in,
    without_keywords,
)
from docsluice_consumer.llm.chat import ChatRequest, Message

_SYSTEM, _USER = "system", "user"
_NOT_PARAMETERS = frozenset({"model", "messages"})


def offered(request: ChatRequest) -> frozenset[str]:
    """Everything that a request sends, by the names under which it may be left out."""
    names = {name for name, value in _parameters(request).items() if value is not None}
    names |= {NO_JSON_SCHEMA, NO_JSON_OBJECT, *keywords_in(request.schema)}
    names |= {STRICT} if request.strict else set()
    names |= set(OUTPUT_BOUNDS) if request.sampling.max_output_tokens is not None else set()
    return frozenset(names | ({SYSTEM_ROLE} if _has_system(request) else set()))


def body_of(request: ChatRequest, *, without: Knowledge, bounds: tuple[str, ...] = OUTPUT_BOUNDS) -> dict[str, Any]:
    """The body of a call. `bounds` are the names for the bound on the answer, the likelier one first."""
    bound = next((name for name in bounds if name not in without), None)
    body: dict[str, Any] = {
        "model": request.model.name,
        "messages": [{"role": turn.role, "content": turn.content} for turn in _turns(request, without)],
        **_parameters(request),
        RESPONSE_FORMAT: _response_format(request, without),
    }
    if bound is not None:
        body[bound] = request.sampling.max_output_tokens
    body |= {**request.extra_body, **asked_for(without)}
    return {name: value for name, value in body.items() if value is not None and name not in without}


def sent_by(request: ChatRequest, body: dict[str, Any], *, without: Knowledge) -> Sent:
    """What a complaint about this call may name."""
    schema = body.get(RESPONSE_FORMAT, {}).get("json_schema", {}).get("schema")
    keywords = keywords_in(schema)
    return Sent(
        model=request.model.name,
        step=request.step,
        without=without,
        parameters=tuple(name for name in body if name not in _NOT_PARAMETERS),
        keywords=tuple(word for word in KEYWORDS if word in keywords),
        has_system=any(turn["role"] == _SYSTEM for turn in body["messages"]),
    )


def _parameters(request: ChatRequest) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "reasoning_effort": sampling.reasoning_effort,
        "seed": sampling.seed,
        "stop": list(sampling.stop) if sampling.stop else None,
        "service_tier": request.service_tier,
        **request.extra_body,
    }


def _response_format(request: ChatRequest, without: Knowledge) -> dict[str, Any] | None:
    if NO_JSON_SCHEMA not in without:
        schema = without_keywords(request.schema, without & frozenset(KEYWORDS))
        named: dict[str, Any] = {"name": request.step, "strict": request.strict, "schema": schema}
        if STRICT in without:
            del named["strict"]
        return {"type": "json_schema", "json_schema": named}
    return None if NO_JSON_OBJECT in without else {"type": "json_object"}


def _turns(request: ChatRequest, without: Knowledge) -> tuple[Message, ...]:
    """The turns.

    If the server cannot enforce the schema, the system turn spells it out, or the first user turn does.
    """
    turns = request.messages
    if NO_JSON_SCHEMA in without and _has_system(request):
        schema = json.dumps(request.schema, ensure_ascii=False)
        spelt_out = f"{turns[0].content}\nIt must meet this JSON schema, with nothing before or after it: {schema}"
        turns = (Message(_SYSTEM, spelt_out), *turns[1:])
    if SYSTEM_ROLE in without and _has_system(request):
        first, *others = turns[1:] or (Message(_USER, ""),)
        turns = (Message(first.role, f"{turns[0].content}\n\n{first.content}"), *others)
    return turns


def _has_system(request: ChatRequest) -> bool:
    return bool(request.messages) and request.messages[0].role == _SYSTEM
