"""Validates everything that a store gives back, as input from outside is validated. Pure.

A store may be damaged, written by another program, or hostile. So each value must be finite, bounded and of its type
before it is used. Any other value is refused here, and counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from pydantic import ValidationError

from docsluice_consumer.store.step_store import NotBelieved, PaidStep

MOST_STEP_BYTES = 16 * 1024 * 1024
"""A larger step is not kept, because no topic would take its result."""
_MOST_USD = Decimal(10**9)
_FINEST_EXPONENT = -64
"""A cost with a million places would be written out in every result."""
_MOST_TOKENS = 10**12
_LARGEST_NUMBER = 10**300
"""Larger integers have no float, and schemas are checked in floats."""
_LONGEST_NAME = 512
_LONGEST_USD = 128
_WINDOWS = frozenset({"hour", "day"})
_LATEST_SECONDS = 1e11
"""About three thousand years from now."""
_MOST_WAIT_SECONDS = 86_400.0
_MOST_UNITS = 1e15
_ROUNDING = 1e-6

Entry: TypeAlias = tuple[str, float, Decimal]
"""A window's name, when it began (seconds since the epoch), and the dollars spent in it."""


def step_of(written: object) -> PaidStep:
    """Read one entry of a store of steps.

    Raises:
        NotBelieved: it is no step, or not of our form. The message quotes nothing of it.
    """
    if not isinstance(written, bytes):
        raise NotBelieved("no bytes of a step")
    if len(written) > MOST_STEP_BYTES:
        raise NotBelieved(f"more than {MOST_STEP_BYTES} bytes")
    try:
        step = PaidStep.model_validate_json(written)
    except ValidationError as error:
        form = any(problem["loc"] == ("form",) for problem in error.errors(include_input=False, include_url=False))
        raise NotBelieved("a step in another release's form" if form else "no step") from None
    if (problem := _problem_of(step)) is not None:
        raise NotBelieved(problem)
    return step


def spent_of(row: Iterable[object]) -> Entry:
    """Read one row of the ledger: its window, when that began, and what was spent.

    Raises:
        NotBelieved: it is not as the ledger writes it.
    """
    window, began_at, usd = row
    if not isinstance(window, str) or window not in _WINDOWS:
        raise NotBelieved("no window of a budget")
    if not isinstance(began_at, int | float) or not 0 <= began_at <= _LATEST_SECONDS:
        raise NotBelieved("no time at which a window can have begun")
    if not isinstance(usd, str) or len(usd) > _LONGEST_USD:
        raise NotBelieved("no amount of dollars")
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise NotBelieved("no amount of dollars") from None
    if not _is_cost(amount):
        raise NotBelieved("no amount of dollars")
    return window, float(began_at), amount


def grant_of(amount: object, wait_seconds: object, *, wanted: float) -> tuple[float, float]:
    """Read one grant of a shared limit: units, and the seconds after which to ask again.

    Raises:
        NotBelieved: it is no number, or more than was claimed.
    """
    units, seconds = _told_number(amount), _told_number(wait_seconds)
    if not 0 <= units <= min(wanted * (1 + _ROUNDING) + _ROUNDING, _MOST_UNITS):
        raise NotBelieved("a grant of more than was asked for")
    if seconds < 0:
        raise NotBelieved("a wait of less than nothing")
    return units, min(seconds, _MOST_WAIT_SECONDS)


def _problem_of(step: PaidStep) -> str | None:
    usage = step.usage
    if not _is_cost(step.cost_usd):
        return "a step with a cost that none has"
    if not all(0 <= tokens <= _MOST_TOKENS for tokens in dict(usage).values()):
        return "a step with tokens that none takes"
    if step.models.keys() != step.outputs.keys() or any(
        len(name) > _LONGEST_NAME for pair in step.models.items() for name in pair
    ):
        return "a step without a model for each output"
    return None if _is_finite(step.outputs) else "a step with a number that is none"


def _is_cost(usd: Decimal) -> bool:
    exponent = usd.as_tuple().exponent
    return isinstance(exponent, int) and 0 <= usd <= _MOST_USD and exponent >= _FINEST_EXPONENT


def _is_finite(value: Any) -> bool:
    """Whether all numbers in a JSON value are finite. The parser bounds its depth."""
    match value:
        case Mapping():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case float():
            return math.isfinite(value)
        case int():
            return abs(value) < _LARGEST_NUMBER
        case _:
            return True


def _told_number(value: object) -> float:
    """Read a number from Redis, which sends it as a string."""
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise NotBelieved("no number")
    return number
