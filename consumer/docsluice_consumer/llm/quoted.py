"""Cuts quotations of the request out of an error message, so that a document's words never count as the provider's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from docsluice.text.flat_text import Span, flat, flat_with_places, joined
from docsluice.text.redaction import plain

_MOST_CHARACTERS = 1200
"""No provider needs more to say what is wrong. An echo of the whole request comes after that."""
_MOST_WRAPPED_CHARACTERS = 8000
_MOST_TRIES = 20_000
_SHORTEST_WHOLE = 8
_CUT = "…"
_IN_QUOTE_MARKS = re.compile(r"'([^']{2,300})'|\"([^\"]{2,300})\"|`([^`]{2,300})`|“([^”]{2,300})”")
_ECHO = re.compile(
    # Markers behind which pydantic and FastAPI print the request. Everything after them is dropped.
    r"(?:['\"](?:input|ctx|flagged_input)['\"]\s*:|\binput_value\s*=).*",
    re.DOTALL,
)


class Quoted:
    """The texts of one request, in the form for searching a message.

    Letters and digits only, in one case: a server may escape, wrap or fold what it quotes.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts = tuple(texts)
        self._blocks_of: dict[int, Mapping[str, list[int]]] = {}

    @cached_property
    def _wholes(self) -> list[str]:
        return [_flat(text) for text in self._texts]

    @cached_property
    def _all(self) -> str:
        return "\0".join(self._wholes)

    def cut_from(self, words: str, *, run: int) -> str:
        """The words without runs of at least `run` letters and digits that stand in the request.

        A text of the request that is shorter is cut as a whole, if it has eight letters or stands in quote marks.
        """
        words = _ECHO.sub(_CUT, plain(words[:_MOST_WRAPPED_CHARACTERS]))[:_MOST_CHARACTERS]
        words = _IN_QUOTE_MARKS.sub(lambda found: _CUT if _of(found) in self._wholes else found[0], words)
        letters, places = flat_with_places(words)
        for start, end in reversed(joined([*self._runs(letters, run), *self._short_wholes(letters, run)])):
            words = f"{words[: places[start]]}{_CUT}{words[places[end - 1] + 1 :]}"
        return words

    def strictly_cut_from(self, words: str, *, run: int) -> str:
        """Cut for the log: as `cut_from`, and also every quoted part that is in the request, however short."""
        words = self.cut_from(words, run=run)
        return _IN_QUOTE_MARKS.sub(lambda found: _CUT if _of(found) and _of(found) in self._all else found[0], words)

    def is_in(self, text: str, *, run: int) -> bool:
        """Whether a text quotes the request. A very long text counts as a quotation."""
        if len(text) > _MOST_WRAPPED_CHARACTERS:
            return True
        letters = _flat(text)
        return letters in self._wholes or next(self._runs(letters, run), None) is not None

    def is_edge_of(self, phrase: str) -> bool:
        """Whether a phrase begins or ends with words of the request: its first or last two, or the only one."""
        words = plain(phrase).split()
        edges = (flat(" ".join(edge)) for edge in (words[:2], words[-2:]))
        return any(edge and edge in self._all for edge in edges)

    def _short_wholes(self, letters: str, run: int) -> Iterator[Span]:
        for whole in self._wholes:
            if _SHORTEST_WHOLE <= len(whole) < run:
                yield from (found.span() for found in re.finditer(re.escape(whole), letters))

    def _runs(self, letters: str, run: int) -> Iterator[Span]:
        """Where runs of at least this length begin and end that are also in the request. They may overlap.

        Each run holds a block of half its length that begins in the request at a multiple of that length. Only these
        blocks are looked up, because a document may be long. Words whose blocks are found too often count as quoted as
        a whole.
        """
        if len(letters) < run:
            return
        half = (run + 1) // 2
        tries, request, blocks = 0, self._all, self._blocks(half)
        for place in range(len(letters) - half + 1):
            for block in blocks.get(letters[place : place + half], ()):
                tries += 1
                if tries > _MOST_TRIES:
                    yield 0, len(letters)
                    return
                before = _alike(letters[max(0, place - run) : place][::-1], request[max(0, block - run) : block][::-1])
                after = _alike(letters[place : place + 2 * run], request[block : block + 2 * run])
                if before + after >= run:
                    yield place - before, place + after

    def _blocks(self, size: int) -> Mapping[str, list[int]]:
        """The request cut into blocks, with their places. It is cut once, and searched for many words."""
        if size not in self._blocks_of:
            places: defaultdict[str, list[int]] = defaultdict(list)
            for place in range(0, len(self._all) - size + 1, size):
                places[self._all[place : place + size]].append(place)
            self._blocks_of[size] = dict(places)
        return self._blocks_of[size]


def _alike(one: str, other: str) -> int:
    """The length of the common beginning of two texts."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _of(found: re.Match[str]) -> str:
    return _flat(next(group for group in found.groups() if group is not None))


def _flat(text: str) -> str:
    return flat(plain(text))
