"""Ids that come more than once in what is sent."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_producer.sending import repeated
from docsluice_producer.sending.repeated import RepeatedIds


def repeats(*ids: str) -> RepeatedIds:
    found = RepeatedIds()
    for one in ids:
        found.add(one)
    return found


@given(st.lists(st.text(max_size=2)))
def test_every_document_but_the_first_of_its_id_counts(ids: list[str]) -> None:
    """So many could have been left out."""
    assert repeats(*ids).count == len(ids) - len(Counter(ids))


def test_the_summary_names_a_few_on_one_line() -> None:
    """Three different ids are enough to look for, each named once, whatever it is made of."""
    assert repeats("a", "b").summary == ""
    assert repeats("a", "a").summary == (
        "1 document has the id of an earlier one, for instance a: each is analysed, and paid for"
    )
    assert (
        "5 documents have the id of an earlier one, for instance a, b c, d:"
        in repeats(*["a", "a", "a"], *["b\nc"] * 2, *["d"] * 2, *["e"] * 2).summary
    )


def test_memory_is_bounded_and_the_bound_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound no new id is remembered. Those that are, are still compared with."""
    monkeypatch.setattr(repeated, "REMEMBERED", 2)
    found = repeats("a", "b", "c", "c", "a")
    assert found.count == 1
    assert len(found._seen) == 2
    assert found.summary.endswith(" (only the first 2 ids were compared)")
