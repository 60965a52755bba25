"""What goes back over the wire: chat completions and errors, in the shape that OpenAI gives them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from docsluice_local.rehearsal.characters.character import ErrorKind
from docsluice_local.rehearsal.faults import Fault
from docsluice_local.rehearsal.messages import AssistantMessage


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one call. `completion_tokens` includes reasoning."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a completion says, whatever its shape."""

    request_id: str
    model: str
    message: AssistantMessage
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP answer.

    A character tells it in its own words: a `completion` in its own shape, an error by its `kind` and `facts`.
    """

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    kind: ErrorKind | None = None
    facts: Mapping[str, str | int] = field(default_factory=dict)
    completion: Completion | None = None

    @property
    def error_code(self) -> str | None:
        """The code of an error, or its kind where the body has none of the usual form. None for a completion."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        if isinstance(error, dict) and (code := error.get("code") or error.get("type")):
            return str(code)
        return self.kind


def completion(*, request_id: str, model: str, message: AssistantMessage, usage: Usage) -> Reply:
    """A chat completion with one choice."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": message.content, "refusal": message.refusal},
        "logprobs": None,
        "finish_reason": message.finish_reason,
    }
    body = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        },
    }
    said = Completion(request_id=request_id, model=model, message=message, usage=usage)
    return Reply(status=200, body=body, completion=said)


def of_kind(kind: ErrorKind, facts: Mapping[str, str | int]) -> Reply:
    """An error that only a character has words for."""
    return Reply(status=500, body={}, kind=kind, facts=facts)


def error(
    status: int, message: str, *, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None
) -> Reply:
    """An error body."""
    return Reply(status=status, body={"error": {"message": message, "type": kind, "param": param, "code": code}})


def rate_limited(*, what: str, per_minute: float, used: float, requested: int, wait_seconds: float | None) -> Reply:
    """A 429 that passes later. Without `wait_seconds` it does not say when."""
    message = (
        f"Rate limit reached on {words(what)} per min: Limit {per_minute:.0f}, Used {used:.0f}, Requested {requested}."
    )
    headers = {}
    if wait_seconds is not None:
        message += f" Please try again in {duration(wait_seconds)}."
        headers["retry-after"] = str(max(1, math.ceil(wait_seconds)))
        headers["retry-after-ms"] = str(max(1, math.ceil(wait_seconds * 1000)))
    facts: dict[str, str | int] = {
        "limit": round(per_minute),
        "used": round(used),
        "requested": requested,
        "wait": duration(wait_seconds or 1),
        "wait_seconds": max(1, math.ceil(wait_seconds or 1)),
        "what": what,
    }
    reply = error(429, message, kind=what, code="rate_limit_exceeded")
    return replace(reply, headers=headers, kind=ErrorKind.RATE_LIMITED, facts=facts)


def request_too_large(*, what: str = "tokens", per_minute: float, requested: int) -> Reply:
    """A 429 that can never pass."""
    reply = error(
        429,
        f"Request too large on {words(what)} per min: Limit {per_minute:.0f}, Requested {requested}. "
        "The input or output tokens must be reduced in order to run successfully.",
        kind=what,
        code="rate_limit_exceeded",
    )
    facts: dict[str, str | int] = {"limit": round(per_minute), "requested": requested, "what": what}
    return replace(reply, kind=ErrorKind.REQUEST_TOO_LARGE_FOR_LIMIT, facts=facts)


def context_length_exceeded(*, context_tokens: int, prompt_tokens: int) -> Reply:
    """The prompt does not fit into the model."""
    reply = error(
        400,
        f"This model's maximum context length is {context_tokens} tokens. However, your messages resulted in "
        f"{prompt_tokens} tokens. Please reduce the length of the messages.",
        code="context_length_exceeded",
        param="messages",
    )
    facts = {"context_tokens": context_tokens, "prompt_tokens": prompt_tokens}
    return replace(reply, kind=ErrorKind.TOO_LARGE, facts=facts)


def model_not_found(model: str) -> Reply:
    """The model does not exist."""
    reply = error(404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found")
    return replace(reply, kind=ErrorKind.UNKNOWN_MODEL)


def bad_key() -> Reply:
    """The API key is wrong or absent."""
    return replace(error(401, "Incorrect API key provided.", code="invalid_api_key"), kind=ErrorKind.BAD_KEY)


def bad_path(path: str) -> Reply:
    """There is nothing at this path."""
    return replace(error(404, f"Invalid URL (POST {path})"), kind=ErrorKind.BAD_PATH)


def refused(*, status: int, headers: dict[str, str], body: Any) -> Reply:
    """A complaint about a parameter, in the words of a character."""
    return Reply(status=status, headers=headers, body=body)


def unsupported_format(response_format: str) -> Reply:
    """The server knows no such response format."""
    return error(
        400,
        f"Invalid parameter: 'response_format' of type '{response_format}' is not supported with this model.",
        param="response_format",
    )


def words(what: str) -> str:
    """A limit's name as a message says it."""
    return what.replace("_", " ")


def duration(seconds: float) -> str:
    """A length of time as rate-limit headers write it: `20ms`, `7.66s`, `2m59.56s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 2), 60)
    tail = f"{rest:.2f}".rstrip("0").rstrip(".")
    return f"{minutes:.0f}m{tail}s" if minutes else f"{tail}s"


FAULT_REPLIES = {
    Fault.INSUFFICIENT_QUOTA: replace(
        error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            kind="insufficient_quota",
            code="insufficient_quota",
        ),
        kind=ErrorKind.QUOTA_EXHAUSTED,
    ),
    Fault.INTERNAL_ERROR: replace(
        error(500, "The server had an error while processing your request.", kind="server_error"),
        kind=ErrorKind.UNAVAILABLE,
    ),
    Fault.BAD_GATEWAY: error(502, "Bad gateway.", kind="server_error"),
    Fault.OVERLOADED: replace(
        error(503, "The engine is currently overloaded, please try again later.", kind="server_error"),
        kind=ErrorKind.OVERLOADED,
    ),
    Fault.CONTENT_FILTER_REJECTED: replace(
        error(
            400,
            "The response was filtered due to the prompt triggering the content management policy.",
            code="content_filter",
            param="prompt",
        ),
        kind=ErrorKind.CONTENT_FILTERED,
    ),
}
"""The faults whose reply is always the same."""
