"""Why an answer ended, in any provider's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.llm.finish_reasons import finish_reason

SPELLINGS: dict[str, list[Any]] = {
    "stop": [
        "stop",
        "STOP",
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "COMPLETE",
        None,
        "",
        " ",
        7,
        "tool_calls",
    ],
    "length": ["length", "max_tokens", "MAX_TOKENS", "model_length", "FinishReason.MAX_TOKENS", "max_output_tokens"],
    "content_filter": [
        *("content_filter", "content_filter: PROHIBITED_CONTENT", "sensitive", "SAFETY", "RECITATION", "SPII"),
        *(
            "PROHIBITED_CONTENT",
            "content-filter",
            "FINISH_REASON_SAFETY",
            "BLOCKLIST",
            "IMAGE_RECITATION",
            "refusal",
            "ERROR_TOXIC",
        ),
    ],
    "error": ["error", "insufficient_system_resource", "network_error", "abort", "MALFORMED_FUNCTION_CALL"],
}


@pytest.mark.parametrize(("meaning", "told"), [(key, told) for key, all_ in SPELLINGS.items() for told in all_])
def test_a_known_reason_in_any_spelling(meaning: str, told: Any) -> None:
    """Case, prefixes and what follows a colon do not matter."""
    assert finish_reason(told) == meaning


def test_an_unknown_reason_is_kept() -> None:
    """It is neither a cut nor a filter, so it counts as a stop, and its name is still visible."""
    assert finish_reason("because_of_the_weather") == "because_of_the_weather"


@given(st.text())
def test_any_reason_is_short(told: str) -> None:
    """Nobody's log is filled with it."""
    assert 1 <= len(finish_reason(told)) <= 60
