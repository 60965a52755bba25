"""Numbers on a terminal, and `printable` for foreign text, see docsluice/text/printable.py."""

from decimal import Decimal

from docsluice.text.printable import counted, harmless, harmless_json, printable, printable_lines, shortened

__all__ = ["counted", "harmless", "harmless_json", "printable", "printable_lines", "shortened", "usd"]


def usd(amount: Decimal) -> str:
    """US dollars, without the zeros at the end: "$0.0003", "$0"."""
    return f"${amount.normalize():f}" if amount else "$0"
