"""Cuts secrets out of a text, however a server has escaped, folded or shortened them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

SECRET = "[secret]"  # noqa: S105 - stands for one
_KEYS = re.compile(
    r"\b(?:sk|pk|gsk|xai|key|csk|hf|nvapi|fw|r8|AIza)[-_][\w*.-]{8,}|\bBearer\s+[^\s\"',]{8,}", re.IGNORECASE
)
_RUN = 12
"""Letters and digits in a row. Nothing but the secret has so many of them by chance."""
_SHORTEST_FLAT = 8
_MOST_LAYERS = 8
_MOST_CHARACTERS = 2**17
"""To find the places of a secret takes a hundred times the memory of the text, and a microsecond a character."""
_ESCAPES = "&%\\"
_ESCAPED = re.compile(
    r"&#?[^\t\n\f <&#;]{1,32};?"
    r"|(?:%[0-9a-fA-F]{2})+"
    r"|(?:(?:\\{1,8}|%)u[0-9a-fA-F]{4})+|\\{1,8}x[0-9a-fA-F]{2}"
    r"|\\{1,8}[nrtbf]"
)
_UNITS = re.compile(r"u([0-9a-fA-F]{4})")
_NO_LETTERS = re.compile(r"[\W_]+")


def plain(text: str) -> str:
    """A text without the escapes of HTML, of URLs and of JSON, also where they lie upon each other."""
    for _ in range(_MOST_LAYERS):
        if not any(escape in text for escape in _ESCAPES):
            break
        meant = _ESCAPED.sub(_meant, text)
        if meant == text:
            break
        text = meant
    return text


def is_plain(text: str) -> bool:
    """Whether no escape is left in it."""
    return _ESCAPED.sub(_meant, text) == text


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """One line without escapes, secrets, and whatever looks like a key. For errors and logs."""
    text = plain(text)
    if not is_plain(text):
        return "…"  # nobody escapes words that often who does not mean to hide something in them
    text = _KEYS.sub(SECRET, cut_secrets(text, secrets))
    return " ".join(text.encode("utf-8", errors="replace").decode().split())


def cut_secrets(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets, and the rest as it was.

    Letters and digits alone are compared, in one case. A dozen of a secret's in a row are cut.
    """
    spelled: dict[str, None] = {}
    for secret in filter(None, secrets):
        text = text.replace(secret, SECRET)
        spelled |= {flat: None for flat in (_flat(secret), _flat(plain(secret))) if len(flat) >= _SHORTEST_FLAT}
    seen = _flat(plain(text))
    found = [flat for flat in spelled if any(part in seen for part in _parts(flat)) and _is_in(seen, flat)]
    if not found:
        return text
    if len(text) > _MOST_CHARACTERS:
        return SECRET
    letters, places = _letters(text)
    inside = {place for flat in found for start, end in _runs(flat, letters) for place in range(start, end)}
    ends = sorted((place for place in inside if place + 1 not in inside), reverse=True)
    starts = sorted((place for place in inside if place - 1 not in inside), reverse=True)
    for start, end in zip(starts, ends, strict=True):
        text = text[: places[start][0]] + SECRET + text[places[end][1] :]
    return text


def _parts(flat: str) -> Iterator[str]:
    """Every run of a secret holds one of these; to look for them is cheap."""
    if len(flat) < _RUN:
        yield flat
        return
    half = _RUN // 2
    for start in range(0, len(flat) - half + 1, half):
        yield flat[start : start + half]


def _is_in(seen: str, flat: str) -> bool:
    size = min(_RUN, len(flat))
    return any(flat[start : start + size] in seen for start in range(len(flat) - size + 1))


def _runs(flat: str, letters: str) -> Iterator[tuple[int, int]]:
    size = min(_RUN, len(flat))
    runs = {flat[start : start + size] for start in range(len(flat) - size + 1)}
    for start in range(len(letters) - size + 1):
        if letters[start : start + size] in runs:
            yield start, start + size


def _letters(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Letters and digits of a text without its escapes, and where in the text each of them begins and ends."""
    places = [(place, place + 1) for place in range(len(text))]
    for _ in range(_MOST_LAYERS):
        meant, came_from, done = [], [], 0
        for found in _ESCAPED.finditer(text):
            instead = _meant(found)
            if instead == found[0]:
                continue
            whole = places[found.start()][0], places[found.end() - 1][1]
            meant += [text[done : found.start()], instead]
            came_from += [*places[done : found.start()], *([whole] * len(instead))]
            done = found.end()
        if not meant:
            break
        text, places = "".join([*meant, text[done:]]), [*came_from, *places[done:]]
    kept = [(letter, place) for character, place in zip(text, places, strict=True) for letter in _flat(character)]
    return "".join(letter for letter, _ in kept), [place for _, place in kept]


def _flat(text: str) -> str:
    return _NO_LETTERS.sub("", text.casefold())


def _meant(found: re.Match[str]) -> str:
    escaped = found[0]
    if escaped.startswith("&"):
        return html.unescape(escaped)
    if units := _UNITS.findall(escaped):
        # Two halves of one character, as JSON escapes it.
        halves = "".join(chr(int(unit, 16)) for unit in units)
        return halves.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
    if escaped.startswith("%"):
        return unquote(escaped, errors="replace")
    return chr(int(escaped[-2:], 16)) if "x" in escaped else " "
