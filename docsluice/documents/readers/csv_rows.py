"""Reads a CSV file's rows by column name, each with the line it starts on.

The header tells which sign is between the cells: Excel writes a semicolon where the comma is in numbers.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BufferedReader

from docsluice.documents.columns import lacking
from docsluice.documents.entries import Entry, Fields, ReadOptions, Unreadable
from docsluice.documents.lines import LINE_BYTES, TOO_LONG, lines, not_utf8
from docsluice.documents.recognition import START_BYTES, no_ends
from docsluice.documents.rows import Unfit

_DELIMITERS = ",;\t|"
_SAID = re.compile(r"""(["']?)sep=(.)\1[\r\n]*""", re.IGNORECASE)
"""Excel's first line for a delimiter, above the header."""


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the cells by column name of each row that begins below line `after`.

    A bad header is the file's only entry: without column names nothing below it can be trusted.

    Raises:
        Unreadable: its lines end as no reader knows.
    """
    if problem := no_ends(file.peek(START_BYTES)[:START_BYTES]):
        raise Unreadable(problem)
    # Both guard against a stray quote, which would silently swallow the rows below it.
    csv.field_size_limit(LINE_BYTES)
    text = _Text(file)
    found = text.delimiter(options.required)
    reader = csv.reader(text, strict=True, delimiter=options.delimiter or found)
    header: list[str] | None = None
    while True:
        line = text.begin_row()
        fields: Fields | None = None
        problem = ""
        try:
            cells = next(reader, None)
            if cells is None:
                break
            text.check_row()
            if header is None:
                header = _header(cells, options.required)
            elif line > after and any(map(str.strip, cells)):  # spreadsheets leave rows without content
                fields = _by_name(header, cells)
        except (csv.Error, Unfit) as error:
            problem = str(error) if isinstance(error, Unfit) else f"not CSV: {_cause(error)}"
        if fields is not None or (problem and line > after):
            yield Entry(position=line, line=line, fields=fields, problem=problem, size_bytes=text.row_bytes)
        if header is None:
            return
    if header is None:
        raise Unreadable("empty: not even a header line")


class _Text:
    """The file's lines as text, for the reader. Remembers what was wrong with the lines of the present row.

    Bytes that are no UTF-8 pass through as lone surrogates, so that one bad row does not end the file.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._lines = lines(file)
        self._number = 0
        self.row_bytes = 0
        self._problem = ""
        self._first: str | None = None

    def delimiter(self, required: Sequence[str]) -> str:
        """The sign between the cells. Blank lines above the header, and Excel's line that names the sign, are read."""
        said = ""
        for line in self:
            if found := _SAID.fullmatch(line):
                said = found[2]
            elif line.strip() or self._problem:
                self._first = line
                break
        return said or _delimiter_of(self._first or "", required)

    def begin_row(self) -> int:
        """The number of the line that the next row starts on."""
        if self._first is not None:
            return self._number
        self.row_bytes = 0
        self._problem = ""
        return self._number + 1

    def check_row(self) -> None:
        """Raise `Unfit` if a line of this row could not be read."""
        if self._problem:
            raise Unfit(self._problem)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._first is not None:
            line, self._first = self._first, None
            return line
        self._number, data = next(self._lines)
        self.row_bytes += len(data)
        if len(data) > LINE_BYTES:
            self._problem = TOO_LONG
            return "\n"  # an over-long line is no row, but its cut rest would read as one
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            self._problem = not_utf8(error)
            return data.decode(errors="surrogateescape")


def _delimiter_of(line: str, required: Sequence[str]) -> str:
    """The sign that makes the required columns of a header line, or else the most columns."""

    def columns(sign: str) -> tuple[bool, int]:
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=sign), [])]
        except csv.Error:
            cells = []
        return set(cells).issuperset(required), len(cells)

    return max(_DELIMITERS, key=columns)


def _cause(error: csv.Error) -> str:
    """What a person can do something about, in place of the parser's words."""
    said = str(error)
    if said == "unexpected end of data":
        return "a quote that begins here is never closed"
    return "a quote within a quoted cell must be doubled" if "expected after" in said else said


def _header(cells: Sequence[str], required: Sequence[str]) -> list[str]:
    """Column names, trimmed. Unnamed columns are allowed and ignored: spreadsheets add some."""
    header = [cell.strip() for cell in cells]
    repeated = [name for name, count in Counter(header).items() if count > 1 and name]
    if repeated:
        raise Unfit(f"the header names {', '.join(map(repr, repeated))} more than once: the file is not read")
    if lacks := lacking(header, required):
        raise Unfit(f"the header has {lacks}")
    return header


def _by_name(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise Unfit(f"{len(cells)} cells where the header has {len(header)}")
    return {name: cell for name, cell in zip(header, cells, strict=True) if name}
