"""What is learned from a refusal, what is not, and when it is forgotten."""
# ruff: noqa: E501 - one complaint a line, as the server sends it

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.llm.capabilities import (
    KEYWORDS,
    NO_JSON_OBJECT,
    NO_JSON_SCHEMA,
    STRICT,
    SYSTEM_ROLE,
    Capabilities,
    Sent,
    complaint,
    keywords_in,
    without_keywords,
)
from docsluice_consumer.llm.chat import ChatRequest, Message, Sampling
from docsluice_consumer.llm.error_body import read_error
from docsluice_consumer.llm.guesses import Guesses
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.llm.request_body import body_of, offered, sent_by
from docsluice_consumer.model_ref import model_ref
from tests.fakes.full_request import REQUEST, SCHEMA

NOTHING: frozenset[str] = frozenset()


def _sent(request: ChatRequest = REQUEST, *, without: frozenset[str] = NOTHING) -> Sent:
    return sent_by(request, body_of(request, without=without), without=without)


def _guesses(known: Capabilities, *, tries: str | None = None) -> Guesses:
    return Guesses(known, model="m", step="summary", tries=tries)


def _refused(guesses: Guesses, message: str) -> bool:
    return guesses.refused(_error(message), _sent(without=guesses.without))


def _known(*names: str) -> Capabilities:
    known = Capabilities()
    for name in names:
        known.learn(name, model="m", step="summary", now=0.0)
    return known


def _error(message: Any, status: int = 400, **fields: Any) -> Any:
    body = {"error": {"message": message, **fields}} if isinstance(message, str) else message
    quoted = Quoted(turn.content for turn in REQUEST.messages)
    return read_error(status, json.dumps(body).encode(), quoted=quoted)


def _extra(*place: str) -> dict[str, Any]:
    return {
        "detail": [
            {"type": "extra_forbidden", "loc": ["body", *place], "msg": "Extra inputs are not permitted", "input": 1}
        ]
    }


TGI = "Failed to deserialize the JSON body into the target type: response_format: unknown variant `json_schema`, expected `json_object`"
COMPLAINTS: list[tuple[Any, str]] = [
    (_error("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.", param="temperature", code="unsupported_value"), "temperature"),
    (_error("`temperature` is deprecated for this model."), "temperature"),
    (_error("`temperature` may only be set to 1 when thinking is enabled."), "temperature"),
    (_error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter"), "max_tokens"),
    (_error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."), "max_tokens"),
    (_error("Unrecognized request argument supplied: reasoning_effort"), "reasoning_effort"),
    (_error("property 'seed' is unsupported", 404), "seed"),
    (_error(_extra("top_k"), 422), "top_k"),
    (_error(_extra("chat_template_kwargs"), 422), "chat_template_kwargs"),
    (_error("Unsupported parameter: 'stop' is not supported with this model.", param="stop"), "stop"),
    (_error("Invalid service_tier argument: flex is not available for this model", param="service_tier"), "service_tier"),
    (_error({"error": TGI, "error_type": "validation"}, 422), NO_JSON_SCHEMA),
    (_error({"object": "error", "message": _extra("response_format", "json_schema")}, 422), NO_JSON_SCHEMA),
    (_error("This response_format type is unavailable now"), NO_JSON_SCHEMA),
    (_error("Model grok does not support parameter reasoningEffort."), "reasoning_effort"),
    (_error("Model x does not support parameter frequencyPenalty.", 501), "frequency_penalty"),
    (_error("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."), NO_JSON_SCHEMA),
    (_error("model does not support structured outputs"), NO_JSON_SCHEMA),
    (_error("Failed to initialize samplers: failed to parse grammar"), NO_JSON_SCHEMA),
    (_error("JSON mode is not enabled for models/gemma-3-4b-it"), NO_JSON_SCHEMA),
    (_error("The provided JSON schema contains features not supported by xgrammar."), NO_JSON_SCHEMA),
    (_error("Failed to compile structural_tag grammar: json_schema_converter.cc:2999: items must be a boolean or an object"), NO_JSON_SCHEMA),
    (_error("invalid JSON schema in format"), NO_JSON_SCHEMA),
    (_error('Either "json_schema" or "grammar" can be specified, but not both'), NO_JSON_SCHEMA),
    (_error("Grammar error: Invalid type: x"), NO_JSON_SCHEMA),
    (_error("Invalid schema for response_format 'x': In context=('properties', 'y'), 'required' is required to be supplied.", param="response_format"), NO_JSON_SCHEMA),
    (_error("unknown field `strict`", param="response_format.json_schema.strict"), STRICT),
    (_error("Invalid schema for response_format 'summary': In context=('properties', 'keywords'), 'minItems' is not permitted.", param="response_format"), "minItems"),
    (_error("For 'array' type, 'maxItems' values other than 0 or 1 are not supported"), "maxItems"),
    (_error("Unable to submit request because one or more response schemas specified unsupported field max_length.", 501), "maxLength"),
    (_error("Invalid JSON payload received. Unknown name \"additionalProperties\" at 'generation_config.response_schema': Cannot find field."), "additionalProperties"),
    (_error("keyword 'pattern' is not supported in a schema"), "pattern"),
    (_error("System role not supported"), SYSTEM_ROLE),
    (_error("Developer instruction is not enabled for models/gemma-3"), SYSTEM_ROLE),
    (_error("Unsupported value: 'messages[0].role' does not support 'system' with this model.", param="messages[0].role", code="unsupported_value"), SYSTEM_ROLE),
    (_error("Only user and assistant roles are supported!"), SYSTEM_ROLE),
    (_error("Conversation roles must alternate user/assistant/user/assistant/..."), SYSTEM_ROLE),
    (_error("Jinja Exception: System role not supported", 500), SYSTEM_ROLE),
    (_error("Penalty is not enabled for models/gemini-2.5-pro"), "frequency_penalty"),
    (_error("Thinking level is not supported for this model."), "reasoning_effort"),
    (_error("Invalid service_tier argument", param="service_tier"), "service_tier"),
    (_error("Currently only json_object is supported for response_format"), NO_JSON_SCHEMA),
    (_error({"detail": [{"type": "literal_error", "loc": ["body", "response_format", "type"], "msg": "Input should be 'text' or 'json_object'", "input": "json_schema"}]}, 422), NO_JSON_SCHEMA),
    (_error("The compiled grammar is too large, which would cause performance issues. Simplify your tool schemas."), NO_JSON_SCHEMA),
    (_error("The specified schema produces a constraint that has too many states for serving."), NO_JSON_SCHEMA),
    (_error("A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth."), NO_JSON_SCHEMA),
    (_error("Invalid schema for response_format 'x': 120 properties exceeds the limit of 100."), NO_JSON_SCHEMA),
    (_error('Unimplemented keys: ["maxItems"]'), "maxItems"),
    (_error("The model returned the following errors: output_config.format.schema: For 'string' type, properties minLength, pattern are not supported"), "pattern"),
    (_error("output_config.format.schema: For 'integer' type, these bounds are not supported"), NO_JSON_SCHEMA),
    (_error("Failed to initialize samplers: std::exception"), NO_JSON_SCHEMA),
    (_error("Invalid grammar request: unknown type"), NO_JSON_SCHEMA),
    (_error("No endpoints found that can handle the requested parameters. To learn more, visit the site", 404, code=404), NO_JSON_SCHEMA),
    (_error("No endpoints found that can handle the requested parameters: temperature", 404, code=404), "temperature"),
    (_error("invalid temperature: only 1 is allowed for this model"), "temperature"),
    (_error("invalid temperature: only 0.6 is allowed for this model"), "temperature"),
    (_error("Unsupported value: 'minimal' is not supported with the 'gpt-5.1' model. Supported values are: 'none' and 'low'.", param="reasoning.effort", code="unsupported_value"), "reasoning_effort"),
    (_error({"error": "[{'type': 'extra_forbidden', 'loc': ('body', 'top_k'), 'msg': 'Extra inputs are not permitted', 'input': 5}]"}), "top_k"),
    (_error("parameter.enable_thinking must be set to false for non-streaming calls", code="invalid_parameter_error"), "enable_thinking=false"),
    (_error("parameter.enable_thinking必须设置为false才能进行非流式调用"), "enable_thinking=false"),
    (_error("This model only support stream mode, please enable the stream parameter to access the model. "), "stream=true"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "name"), COMPLAINTS, ids=[f"{e.status} {e.words[:60]}" for e, _ in COMPLAINTS])
def test_a_complaint_names_what_is_not_known(error: Any, name: str) -> None:
    """By its field, or in the provider's words, whichever server says it and with what status."""
    assert complaint(error, _sent()) == name


def test_the_grade_that_was_sent_is_the_one_that_is_refused() -> None:
    """LM Studio knows json_schema and no json_object. A call with the latter goes one grade down."""
    sent = _sent(without=frozenset({NO_JSON_SCHEMA}))
    assert complaint(_error("'response_format.type' must be 'json_schema' or 'text'"), sent) == NO_JSON_OBJECT


NO_COMPLAINTS = [
    _error("max_tokens is too large: 160. This model supports at most 100 completion tokens.", param="max_tokens"),
    _error("max_tokens is too large: 160, which is not supported", param="max_tokens", code="unsupported_value"),
    _error("temperature must be less than or equal to 2", param="temperature"),
    _error("Invalid 'temperature': decimal above maximum value. Expected a value <= 2, which is not allowed."),
    _error("This model's maximum context length is 500 tokens."),
    _error("'messages' is not supported in this shape", param="messages"),
    _error("presence_penalty is not supported"),  # was not sent
    _error("temperature"),
    _error("Unsupported parameter: 'temperature'", 403, param="temperature", code="unsupported_parameter"),
    _error("Unsupported parameter: 'temperature'", 500),
    _error("Rejected, unexpected words in the text: 'A document about response_format and temperature.'"),
    _error({"detail": [{"loc": ["body", "messages"], "msg": "not allowed", "input": "response_format"}]}, 422),
    _error("Refused for the word pattern, which is not allowed"),
    _error("additionalProperties must be set to false"),
    _error("enable_thinking must be set to false", 500),
    _error("Constraint violation: prompt exceeds 8192 tokens"),
    _error("Invalid request with grammar: the input is too large for the context"),
    _error("The schema and the messages exceed the context window: 9000 tokens exceeds 8192"),
    _error("Structured outputs: grammar exceeds what is left of the context", code="context_length_exceeded"),
    _error({}),
]


@pytest.mark.parametrize("error", NO_COMPLAINTS, ids=[f"{e.status} {e.words[:60]}" for e in NO_COMPLAINTS])
def test_what_is_no_complaint_about_a_parameter(error: Any) -> None:
    """A value that is too large, a parameter that was not sent, the document's own words, another kind of error."""
    assert complaint(error, _sent()) is None
    assert not _guesses(Capabilities()).refused(error, _sent())


@given(
    st.text(min_size=16), st.sampled_from(["temperature", "response_format", "minItems", "max_tokens", "system role"])
)
def test_no_document_teaches_anything(text: str, name: str) -> None:
    """Whatever a refusal quotes of it."""
    document = f"{text} Unsupported parameter: '{name}' is not supported. {text}"
    body = {"error": {"message": f"The request is refused: {document}"}}
    request = replace(REQUEST, messages=(*REQUEST.messages[:1], Message("user", document)))
    error = read_error(400, json.dumps(body).encode(), quoted=Quoted([document]))
    assert not _guesses(Capabilities()).refused(error, _sent(request))


def test_a_schema_without_a_keyword() -> None:
    """At every depth, and a property of that name stays."""
    assert keywords_in(SCHEMA) == {"maxLength", "pattern", "minItems", "maxItems", "additionalProperties"}
    bare = without_keywords(SCHEMA, {"pattern", "minItems", "additionalProperties"})
    assert bare["properties"]["pattern"] == {"type": "string", "maxLength": 20}
    assert bare["properties"]["keywords"] == {"type": "array", "items": {"type": "string"}, "maxItems": 5}
    assert "additionalProperties" not in bare
    assert without_keywords({"enum": [{"pattern": 1}], "anyOf": [{"pattern": "x"}]}, {"pattern"}) == {
        "enum": [{"pattern": 1}],
        "anyOf": [{}],
    }


NO_TEMPERATURE, WANTED = "'temperature' is not supported", "temperature: Field required"


def test_lessons_are_of_a_model_and_those_of_a_schema_of_its_step() -> None:
    """Another model is asked in full, and another step with its schema."""
    known = _known("temperature", "minItems")
    assert known.without(model="m", step="summary") == {"temperature", "minItems"}
    assert known.without(model="m", step="other") == {"temperature"}
    assert known.without(model="other", step="summary") == NOTHING


def test_a_refusal_is_a_guess_until_the_call_without_is_answered() -> None:
    """Then all other calls know, and it is told once."""
    known = Capabilities()
    first, second = _guesses(known), _guesses(known)
    for guesses in (first, second):
        assert _refused(guesses, NO_TEMPERATURE)
        assert guesses.without == {"temperature"}
        assert known.without(model="m", step="summary") == NOTHING
    discoveries = first.answered(now=0.0)
    assert [(discovery.parameter, discovery.meaning) for discovery in discoveries] == [
        ("temperature", "it is left out of the calls to this model")
    ]
    assert second.answered(now=1.0) == [], "calls under way together learn the same"
    assert known.without(model="m", step="summary") == {"temperature"}


def test_words_that_come_again_without_the_parameter_teach_nothing() -> None:
    """They were about the document, which holds the name of a parameter."""
    known = Capabilities()
    guesses = _guesses(known)
    words = "the prompt holds the forbidden word 'temperature', which is not allowed"
    assert _refused(guesses, words)
    assert not _refused(guesses, words), "that call fails with the provider's words"
    assert known.without(model="m", step="summary") == NOTHING
    assert _guesses(known).without == NOTHING


def test_what_another_call_has_learned_meanwhile_is_worth_another_try() -> None:
    """Whatever this one was told."""
    known = Capabilities()
    guesses = _guesses(known)
    sent = _sent(without=guesses.without)
    known.learn("temperature", model="m", step="summary", now=0.0)
    assert guesses.refused(_error("no"), sent)
    assert not _refused(guesses, "no")


def test_a_lesson_is_tried_again_by_one_call() -> None:
    """After a minute. Where the model still refuses, it holds for twice as long. Where not, it is forgotten."""
    known = _known("temperature")

    def to_try(now: float, request: ChatRequest = REQUEST) -> str | None:
        return known.to_try(lambda: offered(request), model="m", step="summary", now=now)

    assert to_try(59.0) is None
    assert to_try(60.0, replace(REQUEST, sampling=Sampling())) is None, "it has no temperature to try"
    assert to_try(60.0) == "temperature"
    assert to_try(60.0) is None, "one call is enough"
    guesses = _guesses(known, tries="temperature")
    assert guesses.without == NOTHING
    assert _refused(guesses, NO_TEMPERATURE)
    assert guesses.answered(now=61.0) == [], "it was known"
    assert known.without(model="m", step="summary") == {"temperature"}
    assert to_try(179.0) is None
    assert to_try(180.0) == "temperature"
    (back,) = _guesses(known, tries="temperature").answered(now=2000.0)
    assert back.meaning == "is sent again, for the model takes it now"
    assert known.without(model="m", step="summary") == NOTHING


def test_what_a_model_never_takes_is_tried_once_an_hour() -> None:
    """A refused call is not paid for, but each is one of a minute's requests."""
    known = _known("temperature")
    tried = [
        minute
        for minute in range(24 * 60)
        if known.to_try(lambda: ["temperature"], model="m", step="summary", now=minute * 60.0)
    ]
    assert tried[:6] == [1, 3, 7, 15, 31, 63]
    assert {later - earlier for earlier, later in pairwise(tried[6:])} == {60}


def test_a_trial_that_is_refused_in_words_of_no_meaning_is_given_up() -> None:
    """The call goes on as all the others do."""
    guesses = _guesses(_known("temperature"), tries="temperature")
    assert _refused(guesses, "no")
    assert guesses.without == {"temperature"}
    assert not _refused(guesses, "no")


def test_what_the_server_asks_for_is_sent_again() -> None:
    """Another server may answer at the same address one day."""
    known = _known("max_tokens", "max_completion_tokens")
    guesses = _guesses(known)
    assert _refused(guesses, "max_tokens: Field required")
    assert guesses.without == {"max_completion_tokens"}
    (discovery,) = guesses.answered(now=1.0)
    assert discovery.meaning == "is sent again, for the model asks for it"
    assert known.without(model="m", step="summary") == {"max_completion_tokens"}


def test_a_model_that_flaps_ends_the_call() -> None:
    """Each thing is left out once and sent again once."""
    for known, turns in ((Capabilities(), 2), (_known("temperature"), 2)):
        guesses, refusals = _guesses(known), 0
        while _refused(guesses, WANTED if "temperature" in guesses.without else NO_TEMPERATURE):
            refusals += 1
        assert refusals == turns


def test_a_model_that_flaps_is_told_of_once_in_ten_minutes() -> None:
    """Its parameter comes and goes with every call."""
    known, told = Capabilities(), []
    for minute in range(12):
        guesses = _guesses(known)
        assert _refused(guesses, WANTED if guesses.without else NO_TEMPERATURE)
        told += [(minute, discovery.parameter) for discovery in guesses.answered(now=60.0 * minute)]
    assert told == [(0, "temperature"), (10, "temperature")]


def test_what_a_model_asks_for_holds_for_its_calls() -> None:
    """It is no trial that a later call would make."""
    known = Capabilities()
    guesses = _guesses(known)
    assert _refused(guesses, "parameter.enable_thinking must be set to false for non-streaming calls")
    assert not _refused(guesses, "parameter.enable_thinking must be set to false"), "it is sent already"
    (discovery,) = guesses.answered(now=0.0)
    assert discovery.meaning == "it is sent with the calls to this model, which asks for it"
    assert known.without(model="m", step="other") == {"enable_thinking=false"}
    assert known.to_try(lambda: offered(REQUEST), model="m", step="summary", now=1e6) is None


def test_what_is_left_out_is_what_the_request_has() -> None:
    """So that a trial is made only by a call that has the thing to send."""
    assert offered(REQUEST) >= {"temperature", "max_completion_tokens", SYSTEM_ROLE, "minItems", "top_k", STRICT}
    plain = ChatRequest(
        step="s", model=model_ref("m"), messages=(Message("user", "x"),), schema={}, sampling=Sampling(), strict=False
    )
    assert offered(plain) == {NO_JSON_SCHEMA, NO_JSON_OBJECT}
    assert set(KEYWORDS) >= keywords_in(SCHEMA)
