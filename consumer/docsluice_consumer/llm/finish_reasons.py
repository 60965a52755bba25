"""Why an answer ended, in the spellings of all servers."""

from __future__ import annotations

import re
from typing import Any, Final

STOP: Final = "stop"
LENGTH: Final = "length"
CONTENT_FILTER: Final = "content_filter"
ERROR: Final = "error"

_LONGEST = 60
_MEANINGS = {
    STOP: "stop stopped eos eos_token end_turn stop_sequence stop_token complete completed end done normal finish "
    "finished finish_reason_stop tool_calls tool_use function_call unspecified null none",
    LENGTH: "length max_tokens max_length model_length max_output_tokens max_completion_tokens max_new_tokens "
    "token_limit length_limit model_context_window_exceeded context_length_exceeded truncated incomplete",
    CONTENT_FILTER: "content_filter content_filtered contentfilter safety recitation blocklist prohibited_content spii "
    "sensitive moderation guardrail_intervened refusal blocked error_toxic content_policy flagged",
    ERROR: "error insufficient_system_resource abort aborted cancelled canceled network_error timeout failed "
    "overloaded server_error unknown_error engine_overloaded malformed_function_call unexpected_tool_call "
    "repetition_truncation error_limit",
}
_KNOWN = {word: meaning for meaning, words in _MEANINGS.items() for word in words.split()}
_BETWEEN = re.compile(r"[\s:;,|/.]+")


def finish_reason(told: Any) -> str:
    """Return our name for a finish reason, else the provider's. An unknown one counts as a stop.

    A name in front of it (`FinishReason.SAFETY`) and words behind it (`content_filter: SPII`) are ignored.
    """
    if not isinstance(told, str) or not told.strip():
        return STOP
    said: str = told.strip()[:_LONGEST]
    plain = said.lower().replace("-", "_")
    for word in (plain, *_BETWEEN.split(plain)):
        bare = word.removeprefix("finish_reason_").removeprefix("image_")
        if bare in _KNOWN:
            return _KNOWN[bare]
    return said
