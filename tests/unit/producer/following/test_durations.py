"""How long documents took, from a count of classes."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from docsluice_producer.following.durations import Durations


@given(st.lists(st.floats(0.001, 1e8), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_right_within_a_twentieth(seconds: list[float], share: float) -> None:
    """The exact one is the value at its place among all, sorted."""
    durations = Durations()
    for one in seconds:
        durations.add(one)
    exact = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    found = durations.quantile(share)
    assert found is not None
    assert exact / 1.051 <= found <= exact * 1.051


def test_without_any_there_is_no_quantile() -> None:
    """Nothing was measured, so nothing is told. A time below zero, as between two clocks, counts as a short one."""
    durations = Durations()
    assert durations.quantile(0.5) is None
    durations.add(-3.0)
    found = durations.quantile(0.5)
    assert found is not None
    assert found < 0.002
