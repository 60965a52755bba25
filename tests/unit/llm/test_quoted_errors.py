"""No document that a provider quotes gives its error a meaning."""
# ruff: noqa: E501 - one error a line, as the provider sends it

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docsluice_consumer.llm.error_body import read_error
from docsluice_consumer.llm.quoted import Quoted
from tests.fakes.error_shapes import EMPTY, ERRORS, KEY, MODEL, TOO_LARGE, UNKNOWN, openai, vllm
from tests.fakes.errors import meant

NASTY = [error[2] for error in ERRORS]
DOCUMENTS = st.one_of(
    st.text(min_size=20),
    st.builds(
        "{}{}{}".format,
        st.text(),
        st.sampled_from(NASTY).map(lambda body: json.dumps(body, ensure_ascii=False)),
        st.text(),
    ),
    st.builds(
        "{} {}".format, st.sampled_from(["response_format is not supported", "Incorrect API key provided"]), st.text()
    ),
)
ECHOES: list[Callable[[str], Any]] = [
    lambda text: {"detail": [{"type": "string_type", "loc": ["body", "messages", 1], "msg": "Input should be a string", "input": text}]},
    lambda text: vllm(f"[{{'type': 'string_unicode', 'loc': ('body', 'messages'), 'msg': 'Input should be a valid string', 'input': {text!r}}}]"),
    lambda text: openai(f"Could not process: {text}"),
    lambda text: openai(f"Could not process {json.dumps(text)} of the request"),
    lambda text: {"error": {"message": "No.", "metadata": {"raw": json.dumps({"message": text, "request": text})}}},
    lambda text: [{"error": {"code": 400, "message": f"Bad: {' '.join(text.split())}", "status": "INVALID_ARGUMENT"}}],
    lambda text: f"<html><body>Rejected: {text}</body></html>",
]  # fmt: skip


@given(DOCUMENTS, st.sampled_from(ECHOES), st.sampled_from([400, 403, 422]))
@example(json.dumps({"error": {"message": "x", "code": "invalid_api_key"}}), ECHOES[4], 400)
def test_no_document_gives_an_error_its_meaning(text: str, echo: Any, status: int) -> None:
    """Whatever a document says, and however it is quoted, the error means what it would without the quotation."""
    bare = meant(status, echo("A text of no importance whatsoever."), "A text of no importance whatsoever.")
    assert meant(status, echo(text), text) == bare


@given(DOCUMENTS, st.sampled_from(ECHOES))
def test_no_document_is_in_the_log(text: str, echo: Any) -> None:
    """Ten letters of it in a row are cut out, and the rest is the provider's."""
    said = read_error(400, json.dumps(echo(text)).encode(), quoted=Quoted([text]))
    letters = "".join(filter(str.isalnum, text.casefold()))
    logged = "".join(filter(str.isalnum, said.loggable.casefold()))
    own = "".join(filter(str.isalnum, json.dumps(echo("")).casefold()))
    for start in range(len(letters) - 10):
        run = letters[start : start + 10]
        assert run not in logged or run in own


@pytest.mark.parametrize(
    "text", ["No credits", "INCORRECT API KEY 00𐀀", "INCORRECT API KEY&\x1f0", "request too large", "model\nnot found"]
)
def test_a_short_document_gives_no_error_its_meaning_either(text: str) -> None:
    """It is cut as a whole, with quote marks or without."""
    for echo in ECHOES:
        assert meant(400, echo(text), text) == UNKNOWN


SHORT = (
    "Invalid API key, and what to do",
    "what an invalid api key is",
    "Your account has been suspended",
    "insufficient balance of powers",
    "The model is overloaded again",
    "Too many requests for the band",
    "the model was not found",
    "the server is busy",
    "Permission denied to land",
    "api key rotation",
)


@pytest.mark.parametrize("quotation", SHORT)
@pytest.mark.parametrize("words", ["Bad text, {}", "Invalid input: {} (400)", "unknown word {}"])
@pytest.mark.parametrize("status", [400, 422, 429, 500])
def test_a_short_quotation_says_nothing_of_all_calls(quotation: str, words: str, status: int) -> None:
    """Also where it is not in quote marks, and where the provider's words go on in it."""
    text = f"Once upon a time a clerk wrote: {quotation}. And so the story begins, and ends."
    bare = openai(words.format("a pale moon above"))
    assert meant(status, openai(words.format(quotation)), text) == meant(status, bare, "A pale moon above the town.")


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("Incorrect API key provided: [secret].", KEY),
        ("Your credit balance is too low to access the API.", EMPTY),
        ("The model `x` does not exist.", MODEL),
    ],
)
def test_words_that_a_document_has_here_and_there_are_the_providers(words: str, meaning: str) -> None:
    """Only two of them in a row are a quotation."""
    scattered = " and ".join(reversed(words.split()))
    assert meant(400, openai(words), f"A key, a balance, a model, and {scattered}.") == meaning


def test_a_document_that_shares_a_few_words_with_the_provider_changes_nothing() -> None:
    """People write about such things."""
    text = "How to mend request_too_large, and what the maximum context length has to do with it."
    body = openai("Request too large on tokens per min: Limit 1000, Requested 2000.")
    assert meant(429, body, text) == TOO_LARGE
    assert meant(400, openai("This model's maximum context length is 500 tokens."), text) == TOO_LARGE


def test_words_of_the_provider_that_are_also_in_the_document_are_kept_from_meaning_anything() -> None:
    """Nobody can tell whose they are then. A code still can."""
    text = "The manual says: This model's maximum context length is 500 tokens."
    words = "This model's maximum context length is 500 tokens."
    assert meant(400, openai(words), text) == UNKNOWN
    assert meant(400, openai(words, code="context_length_exceeded"), text) == TOO_LARGE
