"""CSV to rows: which sign is between the cells, and which rows are bad."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.documents.kinds import Format
from docsluice.messages import DocumentEvent
from tests.fakes.rows import event, problem, rows_of

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_csv_columns_become_metadata_and_lines_are_those_of_the_file() -> None:
    """A quoted line break does not shift the line numbers of the rows below it."""
    data = b'document_id,text,lang\n1,"a\nb",en\n\n2,,en\n3,c\n4,"d"x,en\n5,\xff,en\n6,\xc3\xa9,vi\n'
    first, *bad, last = rows_of(data, Format.CSV)
    assert event(first) == DocumentEvent(document_id="1", text="a\nb", metadata={"lang": "en"})
    assert event(last) == DocumentEvent(document_id="6", text="é", metadata={"lang": "vi"})
    assert [problem(row).partition(": ")[0] for row in bad] == ["file:5", "file:6", "file:7", "file:8"]
    reasons = ["'text' is blank", "2 cells where the header has 3", "not CSV", "not UTF-8"]
    assert all(why in problem(row) for why, row in zip(reasons, bad, strict=True))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "file: it is empty"),
        (b"document_id,text,text\n1,a,b\n", "file:1: the header names 'text' more than once"),
        (b"document_id, text , text\n1,a,b\n", "file:1: the header names 'text' more than once"),
        (b"id;body\n1;a\n", "file:1: the header has no 'document_id' and no 'text' (it has 'id', 'body')"),
        (b"\r\nsep=;\r\nid,body\n", "file:3: the header has no 'document_id' and no 'text' (it has 'id,body')"),
        (b"sep=;\n\n", "file: empty"),
        (b"document_id,\xff,text\n1,\xc3\xa9,b\n", "file:1: not UTF-8"),
        (b'"document_id,text\n1,a\n', "file:1: not CSV"),
    ],
)
def test_a_csv_without_a_good_header_is_one_bad_row(data: bytes, why: str) -> None:
    """Nothing is guessed below column names that are missing or there twice."""
    (bad,) = rows_of(data, Format.CSV)
    assert why in problem(bad)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("above", ["", "\r\n \r\n", "sep={}\r\n", '"sep={}"\r\n', "\ufeffSEP={}\r\n\r\n"])
def test_the_header_tells_the_sign_between_cells(sign: str, above: str) -> None:
    """Excel writes a semicolon or a tab in many countries, and may write a line that says so."""
    header = ("lang", "document_id", "text")
    rows = "\r\n".join(sign.join(row) for row in (header, ("en", "1", '"a;b\n,c\t|"'), ("vi", "2", "d")))
    first, second = rows_of((above.format(sign) + rows).encode(), Format.CSV)
    assert event(first) == DocumentEvent(document_id="1", text="a;b\n,c\t|", metadata={"lang": "en"})
    assert event(second) == DocumentEvent(document_id="2", text="d", metadata={"lang": "vi"})
    assert [row.place.line - above.count("\n") for row in (first, second) if row.place.line] == [2, 4]


def test_rows_without_content_are_no_rows() -> None:
    """Spreadsheets leave them below the table, with more or fewer cells than the header has."""
    (row,) = rows_of(b"document_id,text\r\n,\r\n , ,\r\n1,a\r\n\r\n,,,\r\n", Format.CSV)
    assert event(row).text == "a"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b'1,"a', "file:2: not CSV: a quote that begins here is never closed"),
        (b'1,"say \\"hi\\""', "file:2: not CSV: a quote within a quoted cell must be doubled"),
    ],
)
def test_a_quote_in_the_wrong_place_is_told(row: bytes, why: str) -> None:
    """The parser's own words say what it expected, and no person knows what to change."""
    (bad,) = rows_of(b"document_id,text\n" + row + b"\n", Format.CSV)
    assert problem(bad) == why


def test_columns_without_a_name_are_not_read() -> None:
    """The empty columns that spreadsheets add at the end are no duplicates and no metadata."""
    (document,) = rows_of(b"document_id,text,,\n1,a,,x\n", Format.CSV)
    assert event(document).metadata == {}


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT), max_size=8))
def test_what_a_csv_writer_wrote_is_read_again(cells: list[tuple[str, str, str]]) -> None:
    """Every row whose id and text are not blank comes back cell for cell. The others are bad rows."""
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([("document_id", "text", "other"), *cells])
    found = rows_of(written.getvalue().encode(), Format.CSV)
    for (document_id, text, other), row in zip((c for c in cells if any(map(str.strip, c))), found, strict=True):
        if document_id.strip() and text.strip():
            assert event(row) == DocumentEvent(document_id=document_id, text=text, metadata={"other": other})
        else:
            assert "is blank" in problem(row)
