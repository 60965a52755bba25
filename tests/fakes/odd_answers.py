"""What an odd server may answer: all that providers are known to send, the same with a part changed, and any bytes."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from docsluice_local.rehearsal.characters.character import Character
from docsluice_local.rehearsal.characters.loading import all_characters
from docsluice_local.rehearsal.characters.templates import SAMPLE_FACTS
from docsluice_local.rehearsal.messages import AssistantMessage
from docsluice_local.rehearsal.player import completion_body
from docsluice_local.rehearsal.replies import Completion, Usage
from tests.fakes.raw_server import RawAnswer

KEY = "sk-verysecret-of-this-account"
ODD_TEXT = "Quillon Farrow of Upper Slaughter was seen by the doctor on Tuesday."


def answer_of_json(status: int, body: Any, **headers: str) -> RawAnswer:
    """A body of JSON. A text goes as it is."""
    written = body if isinstance(body, str) else json.dumps(body)
    return RawAnswer(status=status, body=written.encode(), headers=headers)


def documented(character: Character) -> list[RawAnswer]:
    """Its errors, what it says of parameters, and its completions with each finish reason."""
    answers = []
    for told in (*character.errors, *character.refuses):
        headers, body = told.filled(SAMPLE_FACTS)
        answers.append(answer_of_json(told.status, body, **headers))
    for spelling in character.finish_reasons.spellings:
        said = Completion(
            request_id="1",
            model="m",
            message=AssistantMessage(content='{"summary": ["A.", "B."]}', thinking="Hm."),
            usage=Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=0),
        )
        body = completion_body(character, said)
        body["choices"][0]["finish_reason"] = spelling
        answers.append(answer_of_json(200, body))
    return answers


def _bodies() -> list[Any]:
    found = []
    for character in all_characters():
        for answer in documented(character):
            try:
                found.append(json.loads(answer.body))
            except ValueError:
                found.append(answer.body.decode())
    return found


_TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        (
            *(KEY, f"Bearer {KEY}", ODD_TEXT, f"Not allowed: {ODD_TEXT}"),
            *('{"summary": ["A.", "B."]}', '{"category": "tech"}', "error", "stop", "length", "content_filter"),
            *("invalid_api_key", "model_not_found", "insufficient_quota", "too large", "per day", "overloaded"),
            *("Rate limit reached. Please try again in 7.66s", "json_schema is not supported"),
        )
    ),
)
_NAMES = st.one_of(
    st.sampled_from(
        (
            *("error", "errors", "detail", "message", "code", "type", "status", "param", "choices", "content", "text"),
            *("finish_reason", "usage", "prompt_tokens", "completion_tokens", "total_tokens", "cost", "tool_calls"),
            *("refusal", "reasoning_content", "retry_after", "retryDelay", "prompt_tokens_details", "metadata"),
        )
    ),
    st.text(max_size=4),
)
_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXTS, st.just(10**400))
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_STATUSES = st.one_of(
    st.just(200), st.sampled_from([200, 400, 401, 403, 404, 413, 422, 429, 500, 503, 529]), st.integers(200, 599)
)
_NUMBERS = st.sampled_from(["0", "1", "-5", "7.5", "nan", "inf", "1e300", "9" * 30, "6m0s", "soon", ""])
_HEADERS = st.dictionaries(
    st.sampled_from(
        (
            *("retry-after", "retry-after-ms", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"),
            *("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        )
    ),
    _NUMBERS,
    max_size=3,
) | st.sampled_from(
    [
        {"content-type": "text/html; charset=nowhere"},
        {"content-encoding": "gzip"},
        {"content-encoding": "br"},
        {"content-length": "9999"},
        {"location": "http://127.0.0.1:1/"},
        {"x-echo": KEY * 400},
    ]
)


_BODIES = _bodies()


@st.composite
def _changed(draw: st.DrawFn) -> Any:
    """A body that a provider really sends, with one part of it replaced or left out."""
    body = copy.deepcopy(draw(st.sampled_from(_BODIES)))
    place, part = None, body
    while isinstance(part, dict | list) and part and (place is None or draw(st.booleans())):
        place = part
        key: Any = draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        part = part[key]
    if place is None:
        return draw(_JSON)
    if draw(st.booleans()):
        place[key] = draw(_JSON)
    else:
        del place[key]
    return body


ANSWERS = st.builds(
    lambda status, body, headers: RawAnswer(status=status, body=body, headers=headers),
    _STATUSES,
    st.one_of(
        st.builds(lambda value: json.dumps(value).encode(), _JSON | _changed()),
        st.builds(lambda value: json.dumps(value).encode()[:-1], _changed()),
        st.builds(lambda value: b"\xef\xbb\xbf" + json.dumps(value).encode(), _changed()),
        st.binary(max_size=40),
        st.sampled_from(
            [
                b"",
                b"[" * 5_000,
                b'{"choices": ' + b"9" * 5_000 + b"}",
                b"data: {}\n\n",
                b"<html><title>Bad Gateway</title>",
                KEY.encode(),
            ]
        ),
    ),
    st.just({}) | _HEADERS,
)
