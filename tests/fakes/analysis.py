"""Answers of the faked model: what they say, what they cost, and which of them are none."""

from __future__ import annotations

from decimal import Decimal

from docsluice.messages import DeadLetterReason
from docsluice_consumer.llm.chat import Answer
from tests.fakes.chat import say

OUTPUTS = {"summary": "words 0 words 1", "category": "tech"}
COST = Decimal("0.0002")
"""What one answer of `USAGE` costs."""
NONSENSE = say("nonsense")
JUDGED: list[tuple[Answer, DeadLetterReason, str]] = [
    (say("", refusal="I cannot help with that."), DeadLetterReason.REFUSED, "the model refused to answer"),
    (say("", finish_reason="content_filter"), DeadLetterReason.CONTENT_FILTERED, "content filter"),
    (say('{"category": "te', finish_reason="length"), DeadLetterReason.TRUNCATED, "max_output_tokens"),
]
CUT = JUDGED[2][0]
