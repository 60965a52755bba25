"""Find the JSON that a model has put somewhere into its answer. Pure, and linear in the size of the answer.

Models wrap their JSON in thoughts, sentences, code fences and farewells. An object counts when it has every wanted
field. One that contains another counts before it. Of several, the last one outside think blocks comes first: a model
drafts, corrects itself and ends with what it means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from docsluice.validation.json_values import NO_JSON, json_value

_SPACE = r"[ \t\r\n]*+"
_OBJECT = re.compile(r"\{" + f'(?={_SPACE}["}}])')
_TOKEN = re.compile(
    _SPACE
    + r"(\{"
    + f'(?={_SPACE}["}}])'
    + r"""|[}\[\]:,]|"(?:[^"\\]++|\\.)*+"|-?\d++(?:\.\d++)?+(?:[eE][+-]?\d++)?+|true|false|null)""",
    re.DOTALL,
)
_THINK_TAG = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>|\[(/?)THINK\]|◁(/?)think▷", re.IGNORECASE)
_FENCE = re.compile(r"(`{3,}+|~{3,}+)[a-z0-9]*+\s", re.IGNORECASE)
_CUT_OFF = re.compile(_SPACE + r"""(?:"|\{?[ \t\r\n]*\Z)""")
"""What is left of a token that was cut, or nothing."""
_BLANK = "\ufeff \t\r\n"
_MOST_CHARACTERS = 256 * 1024
"""If an answer is longer and not JSON as a whole, only its end is read. The result stands there."""
_MOST_TRIED = 16
"""How many objects of one answer are tried, the best first."""
_DEEPEST_CUT = 16
"""The lists of tasks are never deeper."""
_RESCANS = 2
"""How many times the answer's length may be read again, for objects behind a stray quote."""


class _Span(NamedTuple):
    start: int
    end: int


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet, and the wanted fields seen in it."""

    start: int
    bracket: str
    fields: set[str] = field(default_factory=set)


class Scan:
    """One pass over a text for the objects that have all `fields`. `steps` counts the characters that were read."""

    def __init__(self, text: str, *, fields: frozenset[str]) -> None:
        self.steps = 0
        self._text = text
        self._fields = fields
        self._rescans_left = _RESCANS * len(text)
        self._ends: dict[int, int] = {}

    def spans(self) -> list[_Span]:
        """Return where the objects begin and end, in no order. They may be invalid JSON."""
        position = 0
        while found := _OBJECT.search(self._text, position):
            self.steps += found.end() - position
            position = self._read_value(found.start())
        self.steps += len(self._text) - position
        return [_Span(start, end) for start, end in self._ends.items()]

    def _read_value(self, start: int) -> int:
        """Read the object that begins at `start`, and return where to look for the next one.

        A stray quote turns JSON into text, and text into JSON. So if the object turns out to be none, reading resumes
        at the first brace inside one of its strings, within `_RESCANS`.
        """
        text, position, key, hidden = self._text, start, "", -1
        opened: list[_Open] = []
        while token := _TOKEN.match(text, position):
            self.steps += token.end() - position
            position, mark = token.end(), token[1]
            if mark in "{[":
                opened.append(_Open(token.start(1), mark))
            elif mark in "}]":
                if not self._close(opened, mark, position):
                    break
                if not opened and (hidden < 0 or self._is_json(start, position)):
                    return position
                if not opened:
                    break
            elif mark == ":":
                opened[-1].fields.add(key)
            elif mark[0] == '"':
                key = mark[1:-1] if mark[1:-1] in self._fields else ""
                hidden = text.find("{", token.start(1), position) if hidden < 0 else hidden
        else:
            # The search for an unclosed quote went to the end.
            self.steps += len(text) - position if '"' in text[position : position + 1] else 0
        if hidden < 0 or position - hidden > self._rescans_left:
            return position
        self._rescans_left -= position - hidden
        return hidden

    def _is_json(self, start: int, end: int) -> bool:
        self.steps += end - start
        return parsed(self._text[start:end]) is not NO_JSON

    def _close(self, opened: list[_Open], mark: str, end: int) -> bool:
        """Close the innermost bracket. False if it is of the other kind."""
        innermost = opened.pop()
        if (innermost.bracket == "{") != (mark == "}"):
            return False
        if mark == "}" and self._fields <= innermost.fields:
            self._ends[innermost.start] = end
        return True


def objects_in(text: str, *, fields: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that have all `fields`, the likeliest answer first."""
    whole = parsed(text)
    if isinstance(whole, dict) and fields <= whole.keys():
        yield whole
    # A string that holds the object was encoded twice.
    said = (whole if isinstance(whole, str) else text)[-_MOST_CHARACTERS:]
    for start, end in _best_first(Scan(said, fields=fields).spans(), _thoughts(said)):
        found = parsed(said[start:end])
        if isinstance(found, dict):
            yield found


def closed_at_last_item(text: str) -> str | None:
    """Return a cut answer up to the last whole item of a list, with all open brackets closed.

    None if there is no such item, or if more than the cut is wrong. A model may have dropped what it had begun, or a
    stray quote may end a string too early. None also for a draft, because the cut may be in the thoughts.
    """
    thoughts = _thoughts(text)
    said_from = thoughts[-1].end if thoughts else 0
    begin = _OBJECT.search(text, said_from)
    if begin is None or _THINK_TAG.search(text, said_from, begin.start()):
        return None
    position, opened, last = begin.start(), "", (0, "")
    while token := _TOKEN.match(text, position):
        position, mark = token.end(), token[1]
        if mark in "{[":
            opened += mark
        elif mark in "}]":
            if opened[-1:] != {"}": "{", "]": "["}[mark]:
                return None
            opened = opened[:-1]
        if not opened or len(opened) > _DEEPEST_CUT:
            return None
        if opened[-1] == "[" and mark not in "[,:":
            last = position, opened
    end, open_there = last
    if not end or not _CUT_OFF.match(text, position):
        return None
    return text[begin.start() : end] + "".join("}" if one == "{" else "]" for one in reversed(open_there))


def unwrapped(text: str) -> str:
    """Return an answer without its thoughts, and without a fence around all of it."""
    thoughts = _thoughts(text)
    said = text[thoughts[-1].end if thoughts else 0 :].strip(_BLANK)
    fence = _FENCE.match(said)
    if fence is None or not said.endswith(fence[1], fence.end()):
        return said
    return said[fence.end() : -len(fence[1])].strip()


def parsed(text: str) -> Any:
    """Return a text's JSON value, with raw line breaks allowed in strings. `NO_JSON` if it is none."""
    try:
        value = json_value(text.strip(_BLANK), strict=False, parse_constant=_refuse_constant)
        # Half an emoji and 1e999 are JSON, but could never be sent anywhere.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return NO_JSON
    return value


def _best_first(spans: list[_Span], thoughts: list[_Span]) -> list[_Span]:
    """Sort objects: outside think blocks only, the last first, and containers before their contents."""
    block, answers = len(thoughts) - 1, list[_Span]()
    for span in sorted(spans, key=lambda span: span.end, reverse=True):
        while block >= 0 and thoughts[block].start >= span.end:
            block -= 1
        is_draft = block >= 0 and thoughts[block].start <= span.start and span.end <= thoughts[block].end
        if not is_draft:
            answers.append(span)
        if len(answers) == _MOST_TRIED:
            break
    return answers


def _thoughts(text: str) -> list[_Span]:
    """Return the think blocks. Chat templates may leave out the first opening tag. One without an end is no block."""
    blocks: list[_Span] = []
    opened: int | None = None
    for tag in _THINK_TAG.finditer(text):
        if not any(tag.groups()):
            opened = tag.start() if opened is None else opened
        elif opened is not None or not blocks:
            blocks.append(_Span(opened or 0, tag.end()))
            opened = None
    return blocks


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON, though Python would read it")
