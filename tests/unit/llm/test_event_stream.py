"""Completions in an event stream that nobody asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.validation.json_values import NO_JSON
from docsluice_consumer.llm import completion
from docsluice_consumer.llm.event_stream import completion_streamed
from docsluice_consumer.llm.quoted import Quoted

TEXT = '{"mood": "good"}'
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
WHOLE: dict[str, Any] = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": USAGE,
}


def _piece(delta: Any, *, ends: str | None = None, index: int | None = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": ends}], **more}


def _call(piece: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"name": "x", "arguments": piece}}]}


def _events(*events: Any, between: str = "\n\n", done: bool = True) -> str:
    lines = [f"data: {json.dumps(event)}" for event in events] + ["data: [DONE]"] * done
    return between.join([*lines, ""])


def _read(streamed: str) -> completion.Completion:
    return completion.read(streamed.encode(), quoted=Quoted(), secrets=(), keys=())


IN_PIECES = (_piece({"role": "assistant", "content": ""}), _piece({"content": TEXT[:7]}), _piece({"content": TEXT[7:]}))


@pytest.mark.parametrize(
    "streamed",
    [
        _events(*IN_PIECES, _piece({}, ends="stop"), {"choices": [], "usage": USAGE}),
        _events(*IN_PIECES, _piece({}, ends="stop", usage=USAGE), between="\r\n\r\n"),
        _events(*IN_PIECES, _piece({}, ends="stop", usage=USAGE), between="\n"),
        _events(*IN_PIECES, _piece({}, ends="stop", usage=USAGE), done=False),
        _events(*IN_PIECES, _piece({}, usage=USAGE)),
        _events(_piece({"reasoning_content": "Hm."}), *IN_PIECES, _piece({}, ends="stop", usage=USAGE)),
        _events(_piece(_call(TEXT[:7])), _piece(_call(TEXT[7:])), _piece({}, ends="tool_calls", usage=USAGE)),
        _events(*IN_PIECES, _piece({"content": "no"}, index=1), _piece(None, ends="stop", usage=USAGE)),
        _events(*IN_PIECES, {"warning": "x"}, [1], _piece({}, ends="stop", usage=USAGE)),
        f": PROCESSING\n\nevent: message\n{_events(*IN_PIECES, _piece({}, ends='stop', usage=USAGE))}",
        _events(WHOLE),
        f"{json.dumps(WHOLE)}data: [DONE]\n\n",
        f"{json.dumps(WHOLE, indent=1)}\n\ndata: [DONE]\n\n",
        f": PROCESSING\n\n: PROCESSING\n\n{json.dumps(WHOLE)}",
    ],
)
def test_an_answer_that_is_streamed(streamed: str) -> None:
    """In pieces, or whole within a stream, with the tokens that were used."""
    answer = _read(streamed).answer
    assert answer is not None
    assert (answer.text, answer.finish_reason) == (TEXT, "stop")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 5)


def test_a_stream_without_an_end_was_broken_off() -> None:
    """The rest of it is missing, so it is tried again rather than repaired."""
    answer = _read(_events(*IN_PIECES[:-1], done=False)).answer
    assert answer is not None
    assert answer.finish_reason == "error"


def test_a_cut_and_a_refusal_are_streamed_too() -> None:
    """Their pieces mean the same as in a whole answer."""
    cut = _read(_events(_piece({"content": "{"}), _piece({}, ends="length"))).answer
    refused = _read(_events(_piece({"refusal": "No"}), _piece({"refusal": "."}), _piece({}, ends="stop"))).answer
    assert cut is not None
    assert refused is not None
    assert (cut.finish_reason, refused.refusal) == ("length", "No.")


def test_an_error_in_a_stream() -> None:
    """It counts as its own status, also after the answer has begun."""
    error = _read(_events(*IN_PIECES, {"error": {"code": 429, "message": "Rate limit exceeded"}})).error
    assert error is not None
    assert (error.status, error.words) == (429, "Rate limit exceeded")


@pytest.mark.parametrize("content", [b"", b"data", b"{", b"data: x\n\n", b"data: [DONE]", b"Done: [DONE]", b"\xff\xfe"])
def test_what_is_no_stream(content: bytes) -> None:
    """It stays what it is, and is shown."""
    assert completion_streamed(content) is NO_JSON


LINES = st.lists(
    st.sampled_from(["data: ", ": x", "data: [DONE]", _events(*IN_PIECES), json.dumps(WHOLE), "data: [1]", "data: {}"])
    | st.builds(
        lambda delta: f"data: {json.dumps(_piece(delta))}", st.none() | st.text() | st.just({"tool_calls": [7]})
    )
    | st.text(max_size=9)
)


@given(LINES)
def test_whatever_is_streamed_is_a_body_or_none(lines: list[str]) -> None:
    """And never an error of ours."""
    _read("\n".join(lines))
