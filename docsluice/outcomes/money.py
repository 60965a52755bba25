"""Amounts in headers: anybody may write them, and none may spoil a total. Pure."""

from decimal import Decimal

from docsluice.messages import read_decimal

_MOST_USD = Decimal(1_000_000)
"""More than any document costs."""
_LEAST_DIGIT = -28


def dollars(text: str) -> Decimal | None:
    """Read US dollars as the service writes them. None for anything else, such as a number of a million digits."""
    amount = read_decimal(text)
    return amount if amount is not None and is_sum(amount) else None


def is_sum(amount: Decimal) -> bool:
    """Whether an amount can be a document's cost: finite, 0 to a million dollars, and no endless fraction."""
    return not amount or (amount.is_finite() and 0 < amount <= _MOST_USD and amount.adjusted() >= _LEAST_DIGIT)
