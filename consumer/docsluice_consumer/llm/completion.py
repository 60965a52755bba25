"""Reads a chat completion, as far as an OpenAI-like server has filled it in."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from docsluice.text.redaction import cut_secrets
from docsluice.validation.json_values import NO_JSON, json_value
from docsluice_consumer.llm.chat import Answer
from docsluice_consumer.llm.error_body import ProviderError, error_inside, html_title
from docsluice_consumer.llm.event_stream import completion_streamed
from docsluice_consumer.llm.finish_reasons import CONTENT_FILTER, STOP, finish_reason
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.llm.usage import stated_cost_usd, usage_of

_SHOWN_CHARACTERS, _SHOWN_KEYS = 200, 12
_THOUGHTS = frozenset({"thinking", "reasoning", "redacted_thinking", "reasoning_text"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a 200 turned out to hold: an error, or an answer, or neither."""

    body: Any
    """The body as JSON. `NO_JSON` if it is none."""
    error: ProviderError | None = None
    answer: Answer | None = None
    """The answer, without the limits, which are in the headers."""


def read(content: bytes, *, quoted: Quoted, secrets: Collection[str], keys: Iterable[str]) -> Completion:
    """Parse a body, once, and take what is needed from it. See `error_inside` and `answer_of`."""
    try:
        body = json_value(content)
    except ValueError:
        body = completion_streamed(content)
    if body is NO_JSON:
        return Completion(body=NO_JSON)
    if error := _error_instead(body, quoted=quoted, secrets=secrets):
        return Completion(body=body, error=error)
    return Completion(body=body, answer=None if is_blocked(body) else answer_of(body, secrets=keys))


def _error_instead(body: Any, *, quoted: Quoted, secrets: Collection[str]) -> ProviderError | None:
    """The error that came instead of an answer, beside the choices or in the first of them."""
    choice = first_choice(body)
    inner = choice.get("error")
    if not inner and choice.get("message"):
        return None
    return error_inside({"error": inner} if inner else body, quoted=quoted, secrets=secrets)


def answer_of(body: Any, *, secrets: Iterable[str] = ()) -> Answer | None:
    """The answer in a completion. None if there is none.

    A server that echoes the request's headers must not bring `secrets` into a result or a dead letter.
    """
    choice = first_choice(body)
    message = choice.get("message", choice.get("delta") or None)
    if not isinstance(message, Mapping):
        message = {"content": choice["text"]} if isinstance(choice.get("text"), str) else None
    if message is None:
        return None
    told = body.get("usage")
    content = message.get("content")
    text = _text(content) or _arguments(message)
    refusal = _refusal(message, content)
    ended = finish_reason(choice.get("finish_reason") or choice.get("stop_reason"))
    if not text and _is_filtered(choice, body):
        ended = CONTENT_FILTER
    if not text and ended == STOP:
        text = _misfiled(message)
    return Answer(
        # A model may answer half an emoji, which could not be sent back to it.
        text=cut_secrets(text, secrets).encode("utf-8", errors="replace").decode(),
        finish_reason=ended,
        refusal=cut_secrets(refusal, secrets) if refusal else None,
        usage=usage_of(told),
        stated_cost_usd=stated_cost_usd(told),
    )


def first_choice(body: Any) -> Mapping[str, Any]:
    """The first choice, which is the one that is read. Empty if there is none."""
    choices = body.get("choices") if isinstance(body, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, Mapping) else {}


def is_blocked(body: Any) -> bool:
    """Whether the answer holds only the verdict of the provider's filter (Gemini)."""
    feedback = (body.get("promptFeedback") or body.get("prompt_feedback")) if isinstance(body, Mapping) else None
    return isinstance(feedback, Mapping) and bool(feedback.get("blockReason") or feedback.get("block_reason"))


def what_it_is(content: bytes, body: Any, *, content_type: str) -> str:
    """Describe what came instead of a completion, in a few words that may still quote the request.

    `body` is the content as JSON, or `NO_JSON`.
    """
    kind = content_type.partition(";")[0].strip()[:_SHOWN_CHARACTERS] or "no content type"
    if not content.strip():
        return f"an empty body ({kind})"
    if body is NO_JSON:
        text = content[: 64 * 1024].decode("utf-8", errors="replace")
        title = html_title(text)
        shown = f"a web page with the title “{title}”" if title else " ".join(text.split())[:_SHOWN_CHARACTERS]
        return f"no JSON ({kind}): {shown}"
    if isinstance(body, Mapping):
        keys = ", ".join(str(key)[:_SHOWN_CHARACTERS] for key in list(body)[:_SHOWN_KEYS])
        return f"JSON without a message ({kind}), its keys are: {keys or 'none'}"
    return f"JSON that is no object ({kind}): {type(body).__name__}"


def _text(content: Any) -> str:
    """Text as it is, the text of its parts without thoughts, or JSON that was parsed already."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _written(content) if "type" not in content else _of_part(content)
    return "".join(map(_of_part, content)) if isinstance(content, list) else ""


def _of_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type") in _THOUGHTS or part.get("thought") is True:
        return ""
    text = part.get("text")
    if isinstance(text, Mapping):
        text = text.get("value")
    return text if isinstance(text, str) else ""


def _written(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""  # it was read, but is too deep to be written


def _arguments(message: Mapping[str, Any]) -> str:
    """The answer of a server that turns a schema into a tool: the arguments of the first call."""
    calls = message.get("tool_calls")
    called: Iterable[Any] = calls if isinstance(calls, list) else ()
    functions = [call.get("function") for call in called if isinstance(call, Mapping)]
    for function in (*functions, message.get("function_call")):
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if isinstance(arguments, Mapping):
            return _written(arguments)
        if isinstance(arguments, str) and arguments.strip():
            return arguments
    return ""


def _misfiled(message: Mapping[str, Any]) -> str:
    """An answer among the thoughts, where a server files it if the model did not think. It is all of them, and JSON."""
    for name in ("reasoning_content", "reasoning"):
        thought = message.get(name)
        said = thought.strip() if isinstance(thought, str) else ""
        if said.startswith("{") and said.endswith("}"):
            return said
    return ""


def _refusal(message: Mapping[str, Any], content: Any) -> str | None:
    parts = content if isinstance(content, list) else ()
    told = [message.get("refusal"), *(part.get("refusal") for part in parts if isinstance(part, Mapping))]
    return next((refusal for refusal in told if isinstance(refusal, str) and refusal), None)


def _is_filtered(choice: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether Azure's filter says so beside the message."""
    prompts = body.get("prompt_filter_results")
    results = [choice, *(prompts if isinstance(prompts, list) else ())]
    verdicts = [result.get("content_filter_results") for result in results if isinstance(result, Mapping)]
    return any(
        isinstance(verdict, Mapping) and verdict.get("filtered") is True
        for found in verdicts
        if isinstance(found, Mapping)
        for verdict in found.values()
    )
