"""Which outcomes `follow` shows."""

from __future__ import annotations

import pytest

from docsluice_producer.errors import WrongUsage
from docsluice_producer.following.wanted import Wanted, condition
from tests.fakes.outcomes import dead_letter, result_outcome


def test_all_are_wanted_without_a_condition() -> None:
    """However they ended."""
    assert all(Wanted().includes(one) for one in (result_outcome(1), dead_letter(2)))
    assert [Wanted(only_failed=True).includes(one) for one in (result_outcome(1), dead_letter(2))] == [False, True]


@pytest.mark.parametrize(
    ("source", "results", "letters"),
    [
        ("outputs.summary == 'Short.'", True, False),
        ("kind == 'dead_letter' && reason == 'too_large'", False, True),
        ("metadata.lang == 'en'", True, False),
        ("contains(outputs.keywords, 'a')", True, False),
        ("attempts > `2`", False, True),
        ("length(document_id) > `0`", True, True),
        ("nothing", False, False),
    ],
)
def test_a_condition_is_on_the_fields_of_a_line(source: str, results: bool, letters: bool) -> None:  # noqa: FBT001 - a table
    """An outcome without such a field, or with one of another type, is left out and ends nothing."""
    wanted = Wanted(where=condition(source))
    assert (wanted.includes(result_outcome(1)), wanted.includes(dead_letter(2))) == (results, letters)


@pytest.mark.parametrize("source", ["outputs.", "$key == 'a'", "no_function(a)", "outputs.category = 'tech'"])
def test_what_is_no_condition_is_wrong_usage(source: str) -> None:
    """It is told before anything is read, with the flag."""
    with pytest.raises(WrongUsage, match="--where: "):
        condition(source)
