"""Foreign text on a terminal: it may neither move the cursor nor turn the order of letters. Pure."""

from __future__ import annotations

import unicodedata

_OBEYED = frozenset({"Cc", "Cf", "Cs"})
"""Controls (C0, C1, DEL), format characters such as those that turn the direction of text, and lone surrogates."""
_JOINERS = frozenset("\u200c\u200d")
"""Harmless format characters that Persian, Hindi and emoji need."""
_LINE_BREAKS = frozenset("\n\t")


def harmless(text: str) -> str:
    """The text with a replacement for each character that a terminal may obey or hide. Line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_obeyed(one) and one not in _LINE_BREAKS else one for one in text)


def printable(text: str) -> str:
    """The same on one line: runs of white space become one space."""
    return harmless(" ".join(text.split()))


def counted(number: int, noun: str) -> str:
    """The number with its noun, in the plural if needed: "1 document", "1,200 documents"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable_lines(text: str) -> list[str]:
    """The text line by line, each printable, with the spaces that it begins with."""
    return [line[: len(line) - len(line.lstrip(" "))] + printable(line) for line in text.splitlines()]


def shortened(text: str, most: int) -> str:
    """The text, or its first `most` characters with an ellipsis."""
    return text if len(text) <= most else f"{text[:most]}\u2026"


def harmless_json(json: str) -> str:
    """The same JSON with such characters spelt as escapes: what is read of it is the same."""
    if json.isprintable():
        return json
    return "".join(_escaped(one) if _is_obeyed(one) and one not in _LINE_BREAKS else one for one in json)


def _is_obeyed(one: str) -> bool:
    return not one.isprintable() and unicodedata.category(one) in _OBEYED and one not in _JOINERS


def _escaped(one: str) -> str:
    r"""As JSON spells it: `\u202e`, and beyond the first plane two of them."""
    units = one.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
