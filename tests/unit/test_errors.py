"""The tree of exceptions is what its drawing says."""

from __future__ import annotations

import inspect
import re

import pytest

from docsluice import errors as library_errors
from docsluice.messages import DeadLetterReason, Stage
from docsluice_consumer import errors


def test_the_drawing_is_the_tree() -> None:
    """Every class is drawn, under its own parent, and nothing is drawn that is not there."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+)( {2,}|$)", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            drawn[found[2]] = path[depth - 1] if depth else "Exception"
    real = {
        name: kind.__mro__[1].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ in (errors.__name__, library_errors.__name__)
    }
    assert drawn == real


def test_each_kind_of_failed_attempt_has_its_own_outcome() -> None:
    """It is a label of the metrics."""
    kinds = errors.AttemptFailed.__subclasses__()
    outcomes = {kind.outcome for kind in kinds}
    assert len(outcomes) == len(kinds)
    assert errors.AttemptFailed.outcome not in outcomes


@pytest.mark.parametrize(
    ("kind", "blames"),
    [
        (errors.RateLimited, False),
        (errors.QuotaExhausted, False),
        (errors.CallTimedOut, True),
        (errors.ProviderUnavailable, True),
        (errors.AnswerUnreadable, True),
    ],
)
def test_who_is_blamed(kind: type[errors.AttemptFailed], *, blames: bool) -> None:
    """A limit says nothing about the document. A time-out may."""
    assert kind("x").blames_document is blames


def test_a_rejection_is_by_default_of_the_analysis() -> None:
    """Without a step where none was at fault."""
    rejection = errors.RecordRejected(DeadLetterReason.REFUSED, "no")
    assert (rejection.stage, rejection.step, rejection.model, str(rejection)) == (Stage.ANALYZE, None, None, "no")


def test_a_configuration_error_is_its_problems() -> None:
    """A line each."""
    error = errors.ConfigurationError(["a: x", "b: y"])
    assert error.problems == ["a: x", "b: y"]
    assert str(error) == "a: x\nb: y"
