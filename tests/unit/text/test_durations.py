"""Lengths of time as people say them."""

from __future__ import annotations

import pytest

from docsluice.text.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 seconds"),
        (0, "0 seconds"),
        (0.4, "0 seconds"),
        (1, "1 second"),
        (59.6, "1 minute"),
        (90, "1 minute 30 seconds"),
        (1_200, "20 minutes"),
        (3_600, "1 hour"),
        (3_601, "1 hour"),
        (5_400, "1 hour 30 minutes"),
        (86_400, "1 day"),
        (2 * 86_400 + 3 * 3_600, "2 days 3 hours"),
        (400 * 86_400, "400 days"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, words: str) -> None:
    """The two largest, in the plural where they want it."""
    assert in_words(seconds) == words
