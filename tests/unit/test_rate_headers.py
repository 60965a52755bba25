"""What a provider says of its limits."""

from __future__ import annotations

import pytest

from consumer.llm.rate_headers import SaidLimits, duration_seconds


def _headers(what: str, limit: object, remaining: object, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(remaining),
        f"x-ratelimit-reset-{what}": reset,
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1),
        ("6m0s", 360),
        ("1m30.5s", 90.5),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("12", 12),
        ("0.5", 0.5),
        (" 7S ", 7),
        ("", None),
        (None, None),
        ("soon", None),
        ("1x", None),
        ("-5", None),
        ("inf", None),
        ("nan", None),
        ("2026-01-01T00:00:00Z", None),
        ("1" * 8_000 + "s", None),
    ],
)
def test_durations(text: str | None, seconds: float | None) -> None:
    """As providers write them; anything else is none."""
    assert duration_seconds(text) == seconds


def test_a_limit_of_a_minute_is_believed() -> None:
    """Limit, remaining and reset agree: what was used comes back at the rate of the limit."""
    said = SaidLimits()
    headers = _headers("requests", 600, 599, "100ms") | _headers("tokens", 60000, 59500, "500ms")
    assert said.read(headers) == {"requests": 600, "tokens": 60000}


def test_separate_tokens() -> None:
    """Some providers count input and output apart."""
    headers = _headers("input-tokens", 6000, 5900, "1s") | _headers("output-tokens", 600, 590, "1s")
    assert SaidLimits().read(headers) == {"input_tokens": 6000, "output_tokens": 600}


def test_a_limit_of_a_day_is_not() -> None:
    """14,400 a day come back at ten a minute, and to take them for a minute's would be nonsense either way."""
    assert SaidLimits().read(_headers("requests", 14400, 14395, "30s")) == {}


def test_once_believed_it_is_remembered() -> None:
    """An answer from which it cannot be told, the first of a quiet time, does not unsay it; another number does."""
    said = SaidLimits()
    assert said.read(_headers("requests", 600, 600, "0s")) == {}
    assert said.read(_headers("requests", 600, 590, "1s")) == {"requests": 600}
    assert said.read(_headers("requests", 600, 600, "0s")) == {"requests": 600}
    assert said.read(_headers("requests", 900, 900, "0s")) == {}


@pytest.mark.parametrize("limit", ["0", "0.5", "-1", "many", "", "nan", "inf"])
def test_a_limit_that_is_none(limit: str) -> None:
    """Zero and less mean unknown, and rubbish means nothing."""
    assert SaidLimits().read(_headers("requests", limit, 0, "1s")) == {}


def test_a_server_that_says_nothing() -> None:
    """vLLM, llama.cpp and Ollama send no such headers."""
    assert SaidLimits().read({"content-type": "application/json"}) == {}
