"""What `check` says of the topics' limits."""

from __future__ import annotations

import pytest

from docsluice_consumer.check.findings import Found
from docsluice_consumer.check.topic_sizes import sizes_found

MIB = 2**20


def _found(limits: dict[str, int]) -> Found | None:
    return sizes_found(limits, input_topic="in", dead_letter_topic="dlq", kept_bytes=32 * MIB)


@pytest.mark.parametrize(
    ("limits", "sentence", "doubtful"),
    [
        ({"in": 1_048_588, "dlq": 16 * MIB}, "dlq takes 16,777,216 bytes, in 1,048,588", False),
        ({"in": MIB, "dlq": MIB + 16_384}, "dlq takes 1,064,960 bytes, in 1,048,576", False),
        ({"in": MIB, "dlq": MIB}, "raise max.message.bytes of dlq from 1,048,576 to 1,064,960, or", True),
        ({"in": 64 * MIB, "dlq": 65 * MIB}, "of records with more than 33,554,432 no value is kept", True),
    ],
)
def test_the_limits_are_held_against_one_another(limits: dict[str, int], sentence: str, *, doubtful: bool) -> None:
    """With the figure to raise it to."""
    found = _found(limits)
    assert found is not None
    assert sentence in found.sentence
    assert found.doubtful is doubtful


def test_what_is_not_told_is_not_guessed() -> None:
    """A right may be missing, or a topic."""
    assert _found({}) is None
    assert _found({"in": MIB}) is None
