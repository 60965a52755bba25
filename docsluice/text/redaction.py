"""Cuts secrets out of a text, however a server has escaped, encoded, folded or shortened them. Pure.

First cut, then shorten. The rest of a secret at the end of a shortened text could not be told from other words. So a
caller that shortens a text says here how much of it is wanted.
"""

from __future__ import annotations

import base64
import functools
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

from docsluice.text.api_keys import KEY_BEGINNINGS
from docsluice.text.flat_text import Span, flat, flat_with_places, joined

SECRET = "[secret]"  # noqa: S105 - stands for one
_KEYS = re.compile(
    rf"\b(?:(?:sk|pk|gsk|xai|key|csk|hf|nvapi|fw|r8)[-_]|{KEY_BEGINNINGS})[\w*.-]{{8,}}|\bBearer\s+[^\s\"',]{{8,}}",
    re.IGNORECASE,
)
_RUN = 12
"""Characters in a row that no other text shares by chance."""
_BLOCK = _RUN // 2
"""Each run holds a block of this length that begins in the text at a multiple of it.

Only blocks are looked up first.
"""
_SHORTEST, _SHORTEST_FLAT = 4, 8
"""A shorter secret counts as a word. With letters and digits only, words are found in more places."""
_MOST_LAYERS = 8
_MOST_CHARACTERS = 2**17
_LONGEST_ESCAPE = 16
_ESCAPED = re.compile(
    r"&(?:#[0-9]{1,32}|#[xX][0-9a-fA-F]{1,32}|[a-zA-Z][a-zA-Z0-9]{1,31});?"
    r"|(?:%[0-9a-fA-F]{2})+"
    r"|(?:(?:\\{1,8}|%)u[0-9a-fA-F]{4})+|\\{1,8}x[0-9a-fA-F]{2}"
    r"|\\{1,8}[nrtbf]"
    r"|\\{1,8}(?=[\"'/])"
)
_SIGNS = "&%\\"
"""Every escape has one of these."""
_UNITS = re.compile(r"u([0-9a-fA-F]{4})")

_Places: TypeAlias = Sequence[Span]
"""Where each character begins and ends in the original text."""


def plain(text: str) -> str:
    """A text without escapes of HTML, URLs and JSON, even nested ones."""
    *_, last = _layers(text)
    return last


def is_plain(text: str) -> bool:
    """Whether no escape is left in it."""
    return _ESCAPED.sub(_meant, text) == text


@functools.lru_cache(maxsize=64)
def redaction_of(secrets: tuple[str, ...]) -> Redaction:
    """The redaction of these secrets, cached."""
    return Redaction(secrets)


def cut_secrets(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets, and the rest as it was."""
    return redaction_of(tuple(dict.fromkeys(secrets))).cut(text)


class Redaction:
    """Knows some secrets, and every form in which a text may hold them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = [form for secret in dict.fromkeys(secrets) for form in _forms_of(secret)]
        raw = dict.fromkeys(form for form in spelled if len(form) >= _SHORTEST)
        letters = dict.fromkeys(form for form in map(flat, spelled) if len(form) >= _SHORTEST_FLAT)
        self._raw, self._flat = _Forms.of(raw), _Forms.of(letters)
        self._slack = _LONGEST_ESCAPE * max(map(len, spelled), default=0)

    def cut(self, text: str, *, most: int | None = None) -> str:
        """Cut the secrets out of a text, and leave the rest. At most `most` of its characters.

        A dozen characters of a secret in a row are cut, ignoring everything but letters and digits.
        """
        if most is not None:
            text = text[: most + self._slack]
        spans = self._spans(text)
        if spans is None:
            return SECRET
        pieces, done = [], 0
        for start, end in spans:
            if most is not None and start >= most:
                break
            pieces += [text[done:start], SECRET]
            done = end
        pieces.append(text[done:most])
        return "".join(pieces)

    def line(self, text: str, *, most: int | None = None) -> str:
        """One line without escapes, secrets, and anything that looks like a key. For errors and logs."""
        if most is not None:
            text = text[: most + self._slack]
        text = plain(text)
        if not is_plain(text):
            return "…"  # words that were escaped this often hide something
        text = _KEYS.sub(SECRET, self.cut(text))
        return " ".join(text.encode("utf-8", errors="replace").decode().split())[:most]

    def is_in(self, text: str) -> bool:
        """Whether a text holds one of them."""
        for layer in _layers(text):
            if self._raw.may_be_in(layer):
                return True
        return self._flat.may_be_in(flat(layer))

    def _spans(self, text: str) -> list[Span] | None:
        """Where secrets are, in order and without overlaps. None if that cannot be told."""
        if not self.is_in(text):
            return []
        if len(text) > _MOST_CHARACTERS:
            # No answer is this long, and finding the places takes half a second and a hundred times the memory.
            return None
        found: list[Span] = []
        for layer, places in _placed_layers(text):
            found += _in_text(self._raw.found_in(layer), places)
        letters, at = flat_with_places(layer)
        found += _in_text(self._flat.found_in(letters), [places[place] for place in at])
        return joined(found)


@dataclass(frozen=True, slots=True)
class _Forms:
    """Spellings to search in one kind of text: short ones as a whole, long ones by their runs."""

    short: tuple[str, ...]
    runs: frozenset[str]
    blocks: frozenset[str]

    @classmethod
    def of(cls, forms: Iterable[str]) -> _Forms:
        """Those of these spellings."""
        forms = list(forms)
        long = [form for form in forms if len(form) >= _RUN]
        return cls(
            tuple(form for form in forms if len(form) < _RUN),
            frozenset(form[start : start + _RUN] for form in long for start in range(len(form) - _RUN + 1)),
            frozenset(form[start : start + _BLOCK] for form in long for start in range(len(form) - _BLOCK + 1)),
        )

    def may_be_in(self, text: str) -> bool:
        """Whether one may be in a text. Cheap if none is."""
        if any(form in text for form in self.short):
            return True
        if self.blocks.isdisjoint([text[start : start + _BLOCK] for start in range(0, len(text), _BLOCK)]):
            return False
        return not self.runs.isdisjoint(text[start : start + _RUN] for start in range(len(text) - _RUN + 1))

    def found_in(self, text: str) -> Iterator[Span]:
        """Where they are. They may overlap."""
        for form in self.short:
            for found in re.finditer(f"(?={re.escape(form)})", text):
                yield found.start(), found.start() + len(form)
        for start in range(len(text) - _RUN + 1):
            if text[start : start + _RUN] in self.runs:
                yield start, start + _RUN


def _forms_of(secret: str) -> Iterator[str]:
    """A secret and its other spellings: without escapes, in hexadecimal, in base64 at any alignment."""
    if len(secret) < _SHORTEST:
        return
    yield secret
    yield plain(secret)
    data = secret.encode("utf-8", errors="surrogatepass")
    yield data.hex()
    for before in range(3):
        # Some bits of the letters at both ends belong to the neighbours.
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        for alphabet in (None, b"-_"):
            yield base64.b64encode(bytes(before) + data, altchars=alphabet).decode()[first:last]


def _layers(text: str) -> Iterator[str]:
    """The text, and its meaning as one more layer of escapes is undone each time."""
    yield text
    if not any(sign in text for sign in _SIGNS):
        return
    for _ in range(_MOST_LAYERS):
        meant = _ESCAPED.sub(_meant, text)
        if meant == text:
            return
        yield (text := meant)


def _placed_layers(text: str) -> Iterator[tuple[str, _Places]]:
    """The same, and where in the text as it was each of the characters stands."""
    places: _Places = [(place, place + 1) for place in range(len(text))]
    yield text, places
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
            return
        text, places = "".join([*meant, text[done:]]), [*came_from, *places[done:]]
        yield text, places


def _in_text(runs: Iterable[Span], places: _Places) -> Iterator[Span]:
    for start, end in runs:
        yield places[start][0], places[end - 1][1]


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
    if escaped.strip("\\") == "":
        return ""  # before a quote mark or a slash
    return chr(int(escaped[-2:], 16)) if "x" in escaped else " "
