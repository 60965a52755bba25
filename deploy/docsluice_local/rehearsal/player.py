"""Writes a reply as a character would: its errors, its shape of a completion, its headers. Pure except for counting."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from docsluice_local.rehearsal.characters.character import Character, DocumentedError, Thinking
from docsluice_local.rehearsal.characters.templates import SAMPLE_FACTS, facts_in, fill
from docsluice_local.rehearsal.limits import Limits, State
from docsluice_local.rehearsal.messages import AssistantMessage
from docsluice_local.rehearsal.replies import Completion, Reply, Usage, duration

_DAY_SECONDS = 86_400.0
_NUMBERS: dict[str, Callable[[int], int | float | str]] = {"int": int, "float": float, "string": str}


class Player:
    """Plays one character. It counts the calls of the day, which some providers tell in their headers."""

    def __init__(self, *, character: Character) -> None:
        self.character = character
        self._calls_of_the_day = 0

    def retold(self, reply: Reply, *, model: str | None, attempt: int, epoch: float) -> Reply:
        """The same reply in the character's words, or unchanged where it has none for it.

        A call that comes again meets the next wording of its error, so that a rehearsal shows them all.
        """
        if reply.completion is not None:
            self._calls_of_the_day += 1
            return replace(reply, body=completion_body(self.character, reply.completion))
        if reply.kind is None or not (errors := self._errors_for(reply)):
            return reply
        error = errors[(max(1, attempt) - 1) % len(errors)]
        midnight = (math.floor(epoch / _DAY_SECONDS) + 1) * _DAY_SECONDS
        facts = {**SAMPLE_FACTS, "day_ends_at_milliseconds": round(midnight * 1000), **reply.facts}
        headers, body = error.filled(facts if model is None else {**facts, "model": model})
        return replace(reply, status=error.status, headers=headers, body=body)

    def limit_headers(self, *, limits: Limits, model: str | None, now: float, epoch: float) -> dict[str, str]:
        """The character's headers of the limits that are in force."""
        told = self.character.limits
        if told is None:
            return {}
        states: dict[str, State] = {what.value: state for what, state in limits.states(model=model, now=now).items()}
        if told.requests_per_day is not None:
            states["day"] = _day(told.requests_per_day, used=self._calls_of_the_day)
        facts: dict[str, str | int] = {}
        for name, state in states.items():
            facts[f"{name}_limit"], facts[f"{name}_remaining"] = state.limit, state.remaining
            facts[f"{name}_reset"] = written_reset(state.reset_seconds, told.reset, epoch=epoch)
        known = {name: text for name, text in told.headers.items() if facts_in(text) <= facts.keys()}
        return {name: str(fill(text, facts)) for name, text in known.items()}

    def _errors_for(self, reply: Reply) -> tuple[DocumentedError, ...]:
        """The errors of this kind, those on the same limit where the reply names one."""
        errors = self.character.errors_of(reply.kind) if reply.kind else ()
        fitting = tuple(error for error in errors if error.of == reply.facts.get("what"))
        return fitting or errors


def completion_body(character: Character, said: Completion) -> dict[str, Any]:
    """A completion in the character's shape."""
    shape, message = character.answer, said.message
    told: dict[str, Any] = {"role": "assistant", "content": message.content, **shape.message}
    if message.refusal is not None:
        told |= {"refusal": message.refusal} if "refusal" in shape.message else {"content": message.refusal}
    if message.thinking and shape.thinking is not None:
        told |= _with_thinking(shape.thinking, message)
    finish_reason = character.spelling_of(message.finish_reason)
    return {
        "id": f"chatcmpl-{said.request_id}",
        "object": "chat.completion",
        "created": 0,
        "model": said.model,
        "choices": [{"index": 0, "message": told, "finish_reason": finish_reason, **shape.choice}],
        "usage": usage_body(character, said.usage),
        **shape.top,
    }


def usage_body(character: Character, usage: Usage) -> dict[str, Any]:
    """The `usage` object in the character's shape."""
    counts = {
        "prompt": usage.prompt_tokens,
        "completion": usage.completion_tokens,
        "answer": usage.completion_tokens - usage.reasoning_tokens,
        "total": usage.prompt_tokens + usage.completion_tokens,
        "cached": usage.cached_tokens,
        "uncached": usage.prompt_tokens - usage.cached_tokens,
        "reasoning": usage.reasoning_tokens,
    }
    as_number = _NUMBERS[character.usage.written_as]
    written = {name: as_number(count) for name, count in counts.items()}
    return {name: _counted(each, written) for name, each in character.usage.shape.items()}


def written_reset(seconds: float, how: str, *, epoch: float) -> str:
    """A reset as headers write it."""
    match how:
        case "duration":
            return duration(seconds)
        case "whole_seconds":
            return str(math.ceil(seconds))
        case "epoch_milliseconds":
            return str(round((epoch + seconds) * 1000))
        case _:
            return f"{seconds:.3f}"


def _with_thinking(thinking: Thinking, message: AssistantMessage) -> dict[str, Any]:
    match thinking.place:
        case "think":
            return {"content": f"<think>\n{message.thinking}\n</think>\n\n{message.content}"}
        case "parts":
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": message.thinking}]}
            return {"content": [thought, {"type": "text", "text": message.content}]}
        case "hidden":
            return {}
        case field:
            return {field: message.thinking}


def _counted(shape: Any, written: Mapping[str, int | float | str]) -> Any:
    if isinstance(shape, dict):
        return {name: _counted(each, written) for name, each in shape.items()}
    return written.get(shape, shape) if isinstance(shape, str) else shape


def _day(limit: int, *, used: int) -> State:
    return State(limit=limit, remaining=max(0, limit - used), reset_seconds=used * _DAY_SECONDS / limit)
