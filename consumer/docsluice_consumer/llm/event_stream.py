"""Reads a completion out of an event stream, which gateways send though nobody asked for one.

Some stream unless `stream` is false, some stream whatever is asked, and some only end a whole body with `data: [DONE]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docsluice.validation.json_values import NO_JSON, json_value
from docsluice_consumer.llm.finish_reasons import ERROR, STOP

_DATA, _COMMENT, _DONE = "data:", ":", "[DONE]"
_PIECES = ("content", "reasoning_content", "reasoning", "refusal")


def completion_streamed(content: bytes) -> Any:
    """The body that a stream adds up to: a completion, or an error. `NO_JSON` if it is no event stream.

    A stream without an end counts as an answer that was broken off.
    """
    text = content.decode("utf-8-sig", errors="replace").strip()
    is_done = text.endswith(_DONE)
    lines = text.removesuffix(_DONE).rstrip().removesuffix(_DATA).splitlines() if is_done else text.splitlines()
    lines = [line for line in lines if not line.startswith(_COMMENT)]
    if not any(line.startswith(_DATA) for line in lines):
        # A whole body after a comment that kept the connection alive, or before the end of a stream.
        return _value("\n".join(lines)) if is_done or text.startswith(_COMMENT) else NO_JSON
    events = [event for event in map(_value, _payloads(lines)) if isinstance(event, Mapping)]
    whole = next((event for event in reversed(events) if event.get("error") or _choice(event).get("message")), None)
    if whole is not None:
        return whole
    return _added_up(events, is_done=is_done) if events else NO_JSON


def _payloads(lines: list[str]) -> Iterator[str]:
    return (line.removeprefix(_DATA) for line in lines if line.startswith(_DATA))


def _added_up(events: list[Mapping[str, Any]], *, is_done: bool) -> dict[str, Any]:
    """One completion from the pieces of its first choice."""
    choices = [choice for choice in map(_choice, events) if choice.get("index") in {None, 0}]
    deltas = [delta for choice in choices if isinstance(delta := choice.get("delta"), Mapping)]
    message: dict[str, Any] = {}
    for name in _PIECES:
        pieces = [piece for delta in deltas if isinstance(piece := delta.get(name), str)]
        message |= {name: "".join(pieces)} if pieces else {}
    arguments = "".join(_arguments(delta) for delta in deltas)
    if arguments:
        message["tool_calls"] = [{"function": {"arguments": arguments}}]
    told = [reason for choice in choices if (reason := choice.get("finish_reason"))]
    return {
        "choices": [{"message": message, "finish_reason": told[-1] if told else STOP if is_done else ERROR}],
        "usage": next((usage for event in reversed(events) if (usage := event.get("usage"))), None),
    }


def _arguments(delta: Mapping[str, Any]) -> str:
    """A piece of the arguments of the first tool that is called."""
    calls = delta.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls else None
    function = call.get("function") if isinstance(call, Mapping) and call.get("index") in {None, 0} else None
    piece = function.get("arguments") if isinstance(function, Mapping) else None
    return piece if isinstance(piece, str) else ""


def _choice(event: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, Mapping) else {}


def _value(text: str) -> Any:
    try:
        return json_value(text)
    except ValueError:
        return NO_JSON
