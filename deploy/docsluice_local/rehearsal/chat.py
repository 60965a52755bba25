"""A chat-completions request, read from its body."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from docsluice_local.rehearsal.answers import Schema
from docsluice_local.rehearsal.faults import is_marked

BYTES_PER_TOKEN = 4
_DEFAULT_OUTPUT_TOKENS = 4_096


class UnreadableRequestError(ValueError):
    """The body is no chat-completions request. The message says why."""


@dataclass(frozen=True, kw_only=True)
class ChatCall:
    """What the provider needs to know about one request.

    Attributes:
        content: identifies the request: equal bodies, equal content.
        response_format: `json_schema`, `json_object` or `text`.
        schema: what the answer must meet. Where the format carries none, one that a message spells out.
        task: the schema's name, else a hash of the system messages.
        document: the last user message that holds a marker, else the last user message.
        parameters: every field of the request but model and messages, as it was sent.
        preamble: identifies everything before the last user message, which is what a prompt cache could reuse.
    """

    model: str
    content: bytes
    response_format: str
    schema: Schema | None
    task: str
    document: str
    document_hash: str
    preamble: bytes
    preamble_tokens: int
    prompt_tokens: int
    max_output_tokens: int
    parameters: Mapping[str, Any]


def read_call(body: bytes) -> ChatCall:
    """Read a request.

    Raises:
        UnreadableRequestError: it is no JSON object, names no model, has no messages, or asks for a stream.
    """
    try:
        return _call(json.loads(body), body)
    except UnreadableRequestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableRequestError(f"not a chat completions request: {error!r}") from error


def _call(request: dict[str, Any], body: bytes) -> ChatCall:
    turns = [(str(message["role"]), _text(message.get("content"))) for message in request["messages"]]
    if not turns:
        raise UnreadableRequestError("messages must not be empty")
    if request.get("stream"):
        raise UnreadableRequestError("stream is not rehearsed")
    preamble = "\n".join(text for _, text in turns[: _last_user(turns)]).encode()
    document = _document(turns)
    response_format, schema, name = _response_format(request, turns)
    return ChatCall(
        model=str(request["model"]),
        content=body,
        response_format=response_format,
        schema=schema,
        task=name or text_hash("\n".join(text for role, text in turns if role in {"system", "developer"})),
        document=document,
        document_hash=text_hash(document),
        preamble=hashlib.blake2b(preamble, digest_size=16).digest(),
        preamble_tokens=len(preamble) // BYTES_PER_TOKEN,
        prompt_tokens=max(1, sum(len(text.encode()) for _, text in turns) // BYTES_PER_TOKEN),
        max_output_tokens=int(
            request.get("max_completion_tokens") or request.get("max_tokens") or _DEFAULT_OUTPUT_TOKENS
        ),
        parameters={name: value for name, value in request.items() if name not in {"model", "messages"}},
    )


def _text(content: Any) -> str:
    """A message's text: a string, or a list of parts of which only the text counts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


def _last_user(turns: list[tuple[str, str]]) -> int:
    return max((index for index, (role, _) in enumerate(turns) if role == "user"), default=len(turns) - 1)


def _document(turns: list[tuple[str, str]]) -> str:
    # When an answer is asked for again, the document is no longer the last message, but its marker still counts.
    marked = [text for role, text in turns if role == "user" and is_marked(text)]
    return marked[-1] if marked else turns[_last_user(turns)][1]


def _response_format(request: dict[str, Any], turns: list[tuple[str, str]]) -> tuple[str, Schema | None, str | None]:
    asked = request.get("response_format") or {"type": "text"}
    named = asked.get("json_schema") or {}
    if "schema" in named:
        return asked["type"], named["schema"], named.get("name")
    spelt_out = [schema for role, text in turns if role != "user" for schema in _schemas_in(text)]
    return asked["type"], spelt_out[-1] if spelt_out else None, None


def _schemas_in(text: str) -> list[Schema]:
    """The JSON schemas that a prompt spells out for servers that cannot be given one."""
    found: list[Schema] = []
    decoder = json.JSONDecoder()
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            end = position + 1
        else:
            if "properties" in value:
                found.append(value)
        position = text.find("{", end)
    return found


def text_hash(text: str) -> str:
    """How the call log names a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
