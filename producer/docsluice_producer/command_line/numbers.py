"""Numbers on a terminal, and `printable` for foreign text, see docsluice/text/printable.py."""

from decimal import Decimal

from docsluice.text.printable import harmless, harmless_json, printable, printable_lines, shortened

__all__ = ["counted", "harmless", "harmless_json", "printable", "printable_lines", "shortened", "usd"]


def counted(number: int, noun: str) -> str:
    """The number with its noun, in the plural if needed: "1 document", "1,200 documents"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def usd(amount: Decimal) -> str:
    """US dollars, without the zeros at the end: "$0.0003", "$0"."""
    return f"${amount.normalize():f}" if amount else "$0"
