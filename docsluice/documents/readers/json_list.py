"""Reads JSON: a list of documents of any length, or one document alone. Pure.

A list is read element by element, so memory holds the largest of them and not the list.
"""

import codecs
import json
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from docsluice.documents.entries import Entry, ReadOptions, Unreadable
from docsluice.documents.lines import LINE_BYTES, TOO_LONG
from docsluice.documents.recognition import no_documents
from docsluice.documents.rows import Unfit, an_object, no_constant, parse_json_value
from docsluice.validation.record_bytes import json_object, unmarked

_PIECE_BYTES = 64 * 1024
_CUT_CHARACTERS = 16
"""A cut value is told by an error this near to the end. A cut string is told by its beginning."""
_DECODER = json.JSONDecoder(parse_constant=no_constant, object_pairs_hook=json_object)


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the elements of the list behind number `after`, or the one object.

    Raises:
        Unreadable: it is not JSON, or not documents.
    """
    del options
    text = _Text(file)
    if text.sign() == "[":
        yield from _elements(text, after)
        return
    try:
        row = an_object(parse_json_value(text.rest()))
    except Unfit as unfit:
        raise Unreadable(str(unfit)) from unfit
    if problem := no_documents(row):
        raise Unreadable(problem)
    yield Entry(position=1, fields=row, size_bytes=text.passed)


def _elements(text: "_Text", after: int) -> Iterator[Entry]:
    text.skip()
    if text.sign() == "]":
        raise Unreadable("an empty list: it holds no document")
    number = 0
    while True:
        number, begin = number + 1, text.passed
        value = text.value()
        if number == 1 and isinstance(value, dict) and (problem := no_documents(value)):
            raise Unreadable(problem)
        if number > after:
            yield _entry(number, value, size_bytes=text.passed - begin)
        sign = text.sign()
        if sign not in {",", "]"}:
            raise Unreadable(f"not JSON: Expecting ',' delimiter at character {text.passed + 1}")
        text.skip()
        if sign == "]":
            break
    if text.sign():
        raise Unreadable(f"not JSON: Extra data at character {text.passed + 1}")


def _entry(number: int, value: Any, *, size_bytes: int) -> Entry:
    try:
        return Entry(position=number, fields=an_object(value), size_bytes=size_bytes)
    except Unfit as unfit:
        return Entry(position=number, problem=f"document {number}: {unfit}", size_bytes=size_bytes)


class _Text:
    """The file's text, as far as it is needed. `passed` counts its characters that are behind us."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._dropped = 0
        self._read_bytes = 0

    @property
    def passed(self) -> int:
        return self._dropped + self._at

    def sign(self) -> str:
        """The next character that is no blank, which stays. Empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def skip(self) -> None:
        """Pass one character."""
        self._at += 1

    def value(self) -> Any:
        """Pass the next value, and return it.

        Raises:
            Unreadable: it is not JSON, or too long.
        """
        self.sign()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                where = self._dropped + error.pos + 1
                is_cut = error.msg.startswith("Unterminated") or error.pos + _CUT_CHARACTERS >= len(self._text)
                if not is_cut or not self._more():
                    raise Unreadable(f"not JSON: {error.msg} at character {where}: the rest is not read") from error
            except (ValueError, RecursionError) as error:
                why = "nested too deeply to read" if isinstance(error, RecursionError) else str(error)
                raise Unreadable(f"not JSON: {why}: the rest is not read") from error
            else:
                characters = end - self._at
                if end < len(self._text) or not self._more():  # a number may go on
                    self._at += characters
                    return value

    def rest(self) -> str:
        """Everything that is left.

        Raises:
            Unreadable: it is too long.
        """
        while self._more():
            pass
        text, self._at = self._text[self._at :], len(self._text)
        return text

    def _more(self) -> bool:
        """Read on: as much again as is kept, so that a long value is looked at a few times only."""
        kept = self._text[self._at :]
        if len(kept) > LINE_BYTES:
            raise Unreadable(TOO_LONG)
        data = self._file.read(max(_PIECE_BYTES, len(kept)))
        if not self._read_bytes:
            data = unmarked(data)
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise Unreadable(
                f"not UTF-8 near byte {self._read_bytes + error.start + 1}: the rest is not read"
            ) from error
        self._read_bytes += len(data)
        self._dropped += self._at
        self._text, self._at = kept + text, 0
        return bool(data)
