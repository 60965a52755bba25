"""What the errors of known providers mean, in their own shapes and words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docsluice_consumer.llm.error_body import error_inside, read_error
from docsluice_consumer.llm.error_mapping import Call, fault_of
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.model_ref import model_ref
from tests.fakes.error_shapes import (
    AWAY,
    EMPTY,
    ERRORS,
    FILTERED,
    KEY,
    LIMITED,
    MODEL,
    TOO_LARGE,
    anthropic,
    google,
    openai,
    vllm,
)
from tests.fakes.errors import NOW, meant


@pytest.mark.parametrize(("who", "status", "body", "meaning"), ERRORS, ids=[f"{e[0]} {e[1]}" for e in ERRORS])
def test_what_an_error_means(who: str, status: int, body: Any, meaning: str) -> None:
    """By the code where it is known, by the words else, and by the status where both say nothing."""
    assert meant(status, body) == meaning


@pytest.mark.parametrize(
    ("body", "meaning", "status"),
    [
        ({"error": {"message": "Too Many Requests", "code": 429}, "user_id": "u"}, LIMITED, 429),
        ({"error": {"message": "Insufficient credits", "code": 402}}, EMPTY, 402),
        ({"error": {"message": "maximum context length is 500 tokens", "code": 400}}, TOO_LARGE, 400),
        ({"error": {"message": "requires moderation and your input was flagged", "code": 403}}, FILTERED, 403),
        ({"error": {"message": "Upstream idle timeout", "code": 504}}, AWAY, 504),
        ({"error": {"message": "Provider error", "code": "502"}, "choices": []}, AWAY, 502),
        ({"error": "Incorrect API key provided"}, "credentials", 500),
        ({"error": {"message": "Incorrect API key provided", "code": 401}}, KEY, 401),
        ({"error": {"message": "overloaded"}}, AWAY, 500),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}, EMPTY, 500),
        (vllm("The model `x` does not exist.", 404), MODEL, 404),
        ({"message": "invalid api token"}, "credentials", 500),
        ({"error_code": 18, "error_msg": "Open api qps request limit reached"}, LIMITED, 500),
        ({"code": 401, "msg": "Incorrect API key provided", "success": False}, KEY, 401),
        ({"errors": [{"message": "No such model x", "code": 5007}], "success": False}, "model", 500),
    ],
    ids=str,
)
def test_an_error_inside_a_200_counts_as_its_own_status(body: dict[str, Any], meaning: str, status: int) -> None:
    """Gateways answer 200 before they know how the provider fares."""
    said = error_inside(body)
    assert said is not None
    assert said.status == status
    assert meant(said.status, body) == meaning


@pytest.mark.parametrize(
    "body",
    [{}, [], "words", None, {"choices": []}, {"error": None, "choices": []}, {"error": {}}, {"msg": "", "code": 0}],
)
def test_a_200_without_an_error_holds_none(body: Any) -> None:
    """An empty field is no error."""
    assert error_inside(body) is None


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (openai("x", type="invalid_request_error", code="invalid_api_key"), "400 invalid_api_key"),
        (google(400, "x", "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), "400 API_KEY_INVALID"),
        (vllm("x"), "400 BadRequestError"),
        (anthropic("invalid_request_error", "x"), "400 error"),
        ({"message": "x"}, "400"),
    ],
)
def test_the_code_that_says_most_stands_beside_the_status(body: Any, label: str) -> None:
    """A stop shows it, and nothing else of the provider's."""
    assert str(read_error(400, json.dumps(body).encode())) == label


def test_the_providers_words_are_kept_in_full() -> None:
    """Also behind a colon, and without what they quote."""
    quoted = Quoted(["Quillon Farrow was seen on Tuesday."])
    body = openai("Refused: the text 'Quillon Farrow was seen on Tuesday.' is odd: see the manual")
    said = read_error(400, json.dumps(body).encode(), quoted=quoted)
    fault = fault_of(said, Call(step="s", model=model_ref("m")), headers={}, now=NOW)
    assert str(fault) == "400: Refused: the text … is odd: see the manual"
    name = read_error(400, json.dumps(openai("The name 'Quillon' is refused")).encode(), quoted=quoted)
    assert name.loggable == "The name … is refused"
