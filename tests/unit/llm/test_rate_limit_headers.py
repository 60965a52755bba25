"""What a provider says of its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import Usage
from docsluice_consumer.llm.rate_limit_headers import ReportedLimits, duration_seconds


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
    """As providers write them. Anything else is none."""
    assert duration_seconds(text) == seconds


def test_a_limit_of_a_minute_is_believed() -> None:
    """Limit, remaining and reset agree: what was used comes back at the rate of the limit."""
    said = ReportedLimits()
    headers = _headers("requests", 600, 599, "100ms") | _headers("tokens", 60000, 59500, "500ms")
    assert said.read(headers) == {"requests": 600, "tokens": 60000}


def test_separate_tokens() -> None:
    """Some providers count input and output apart."""
    headers = _headers("input-tokens", 6000, 5900, "1s") | _headers("output-tokens", 600, 590, "1s")
    assert ReportedLimits().read(headers) == {"input_tokens": 6000, "output_tokens": 600}


def test_a_limit_of_a_day_is_not() -> None:
    """14,400 a day come back at ten a minute, and to take them for a minute's would be nonsense either way."""
    assert ReportedLimits().read(_headers("requests", 14400, 14395, "30s")) == {}


def test_once_believed_it_is_remembered() -> None:
    """An answer from which it cannot be told, the first of a quiet time, does not unsay it. Another number does."""
    said = ReportedLimits()
    assert said.read(_headers("requests", 600, 600, "0s")) == {}
    assert said.read(_headers("requests", 600, 590, "1s")) == {"requests": 600}
    assert said.read(_headers("requests", 600, 600, "0s")) == {"requests": 600}
    assert said.read(_headers("requests", 900, 900, "0s")) == {}


@pytest.mark.parametrize("limit", ["0", "0.5", "-1", "many", "", "nan", "inf"])
def test_a_limit_that_is_none(limit: str) -> None:
    """Zero and less mean unknown, and rubbish means nothing."""
    assert ReportedLimits().read(_headers("requests", limit, 0, "1s")) == {}


def test_a_server_that_says_nothing() -> None:
    """vLLM, llama.cpp and Ollama send no such headers."""
    assert ReportedLimits().read({"content-type": "application/json"}) == {}


NOW = 1_750_000_000.0


@pytest.mark.parametrize(
    "reset",
    ["30s", "30", str(NOW + 30), str(int((NOW + 30) * 1000)), "2025-06-15T15:07:10Z", "2025-06-15T15:07:10+00:00"],
)
def test_a_reset_is_told_as_a_duration_or_as_a_moment(reset: str) -> None:
    """Half of a minute's limit is back in half a minute, however that is said."""
    headers = {"x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "3000"}
    assert ReportedLimits().read(headers | {"x-ratelimit-reset-tokens": reset}, now=NOW) == {"tokens": 6000}


def test_each_model_has_limits_of_its_own() -> None:
    """What one header has taught of a model says nothing of another at the same address."""
    said = ReportedLimits()
    assert said.read(_headers("requests", 600, 300, "30s"), model="a") == {"requests": 600}
    bare = {"x-ratelimit-limit-requests": "600"}
    assert said.read(bare, model="a") == {"requests": 600}
    assert said.read(bare, model="b") == {}


def test_anthropics_names() -> None:
    """Each kind of token apart, and resets as dates."""
    headers = {
        f"anthropic-ratelimit-{name}-{what}": value
        for name, limit, left in (("requests", "50", "25"), ("input-tokens", "30000", "15000"), ("tokens", "9", "9"))
        for what, value in (("limit", limit), ("remaining", left), ("reset", "2025-06-15T15:07:10Z"))
    }
    assert ReportedLimits().read(headers, now=NOW) == {"requests": 50, "input_tokens": 30000}


def test_groqs_headers_tell_of_a_day_and_of_a_minute() -> None:
    """Under the same kind of name. Only the minute's is believed."""
    headers = {
        **_headers("requests", 14400, 14399, "6s"),
        **_headers("tokens", 18000, 17890, "0.36s"),
    }
    assert ReportedLimits().read(headers) == {"tokens": 18000}
    assert ReportedLimits().read(_headers("requests", 14400, 14370, "2m59.56s")) == {}


def test_a_header_that_names_the_minute_is_believed() -> None:
    """Cerebras and Mistral say so in the name."""
    headers = {
        "x-ratelimit-limit-tokens-minute": "60000",
        "x-ratelimit-limit-req-minute": "30",
        "x-ratelimit-limit-requests-day": "14400",
    }
    assert ReportedLimits().read(headers) == {"tokens": 60000, "requests": 30}


@given(st.dictionaries(st.sampled_from(["limit", "remaining", "reset"]), st.text(st.characters(codec="ascii"))))
def test_any_headers_are_harmless(told: dict[str, str]) -> None:
    """Whatever stands in them, a limit is a number above nothing, or none."""
    headers = {f"x-ratelimit-{name}-tokens": value for name, value in told.items()}
    headers |= {f"anthropic-ratelimit-tokens-{name}": value for name, value in told.items()}
    limits = ReportedLimits().read(headers, now=NOW)
    assert all(1 <= limit < float("inf") for limit in limits.values())


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-limit-tokens-minute": "1"},
        _headers("tokens", 60, 59, "1s"),
        _headers("input-tokens", 60, 59, "1s"),
    ],
    ids=str,
)
def test_a_limit_that_its_own_call_exceeds_is_not_believed(headers: dict[str, str]) -> None:
    """Nor later, when a call tells no usage. It is told once."""
    said, told = ReportedLimits(), []
    for usage in (Usage(input_tokens=900, output_tokens=5), None, Usage(input_tokens=900, output_tokens=5)):
        assert said.read(headers, model="own/m", usage=usage) == {}
        told += said.newly_refuted()
    assert len(told) == 1
    assert said.read(headers, model="own/other"), "of another model it may be true"


def test_a_limit_that_a_call_keeps_to_is_believed() -> None:
    """What the cache held and what the model wrote need not count."""
    usage = Usage(input_tokens=5000, cached_tokens=4500, output_tokens=900)
    headers = {"x-ratelimit-limit-tokens-minute": "600"}
    assert ReportedLimits().read(headers, usage=usage) == {"tokens": 600}
