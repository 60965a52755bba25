"""Foreign text on a terminal: what a document or a model says must not be able to move the cursor."""

import unicodedata
from decimal import Decimal


def counted(number: int, noun: str) -> str:
    """The number with its noun, in the plural where it wants it: "1 document", "1,200 documents"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def usd(amount: Decimal) -> str:
    """US dollars, without the zeros at the end: "$0.0003", "$0"."""
    return f"${amount.normalize():f}" if amount else "$0"


def printable_lines(text: str) -> list[str]:
    """The text line by line, each printable, with the spaces that it begins with."""
    return [line[: len(line) - len(line.lstrip(" "))] + printable(line) for line in text.splitlines()]


def printable(text: str) -> str:
    """The text on one line: white space runs become a space, control characters and lone surrogates a replacement."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in ("Cc", "Cs") else one for one in line)
