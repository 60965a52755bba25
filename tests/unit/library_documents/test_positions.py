"""Where a reader goes on: behind a position, with the very rows that a full reading has there."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.documents.kinds import Format
from docsluice.documents.reader_process import ReaderProcess
from docsluice.documents.readers import json_list
from docsluice.documents.rows import Document
from tests.fakes.rows import event, jsonl, problem, rows_of

ROWS = [{"document_id": f"d{number}", "text": f"a\n{number}", "n": number} for number in range(7)]


def parquet() -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), written, row_group_size=3)
    return written.getvalue()


CSV = "document_id,text,n\n" + "".join(f'{row["document_id"]},"{row["text"]}",{row["n"]}\n' for row in ROWS)
FILES = {
    Format.JSONL: b"\n".join([jsonl(ROWS[0]), b"bad", *map(jsonl, ROWS[1:])]),
    Format.JSON: json.dumps([ROWS[0], 7, *ROWS[1:]], indent=1).encode(),
    Format.CSV: CSV.encode(),
    Format.PARQUET: parquet(),
    Format.TEXT: b"a text",
}


@pytest.mark.parametrize("form", FILES)
def test_a_reader_goes_on_behind_a_position(form: Format) -> None:
    """For the position of each document: the rest, and nothing of what was before."""
    with ReaderProcess() as process:
        documents = [row for row in rows_of(FILES[form], form, process=process) if isinstance(row, Document)]
        assert len(documents) == (1 if form is Format.TEXT else len(ROWS))
        assert [one.position for one in documents] == sorted({one.position for one in documents})
        for number, one in enumerate(documents, start=1):
            left = rows_of(FILES[form], form, process=process, after=one.position.entry)
            assert [row.value for row in left if isinstance(row, Document)] == [row.value for row in documents[number:]]


@given(st.lists(st.fixed_dictionaries({"document_id": st.text(min_size=1), "text": st.text(), "n": st.integers()})))
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list_is_read_in_pieces_of_any_size(indent: int | None, rows: list[dict[str, object]]) -> None:
    """Element by element it is what Python reads as a whole."""
    data = json.dumps(rows, indent=indent, ensure_ascii=False).encode(errors="replace")
    for size in (1, 7, 64 * 1024):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_list, "_PIECE_BYTES", size)
            found = [event(row).text for row in rows_of(data, Format.JSON) if isinstance(row, Document)]
        whole = [row["text"] for row in json.loads(data) if row["text"].strip() and row["document_id"].strip()]
        assert found == whole


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'[{"document_id": "a", "text": "t"}', "Expecting ',' delimiter at character 35"),
        (b'[{"document_id": "a", "text": "t"},]', "not JSON: Expecting value at character 36"),
        (b'[{"document_id": "a", "text": "t"} x', "Expecting ',' delimiter at character 36"),
        (b'[{"document_id": "a", "text": "t"}] x', "not JSON: Extra data at character 37"),
        (b'[{"document_id": "a", "text": "t"}, {"text": "', "not JSON: Unterminated string starting at"),
        (b'[{"document_id": "a", "text": "t"}, NaN]', "not JSON: NaN is no JSON value"),
        (b'[{"document_id": "a", "text": "t"}, "\xff"]', "not UTF-8 near byte 38"),
    ],
)
def test_a_list_that_breaks_off_is_told_and_what_was_before_is_read(data: bytes, why: str) -> None:
    """A long list is not held back for its last character."""
    *good, bad = rows_of(data, Format.JSON)
    assert why in problem(bad)
    assert [event(row).document_id for row in good] in (["a"], [])


def test_only_the_metadata_that_was_named_is_sent() -> None:
    """Of a row, and of one that is an event itself. A list beside them is not worth a note."""
    row = {"document_id": "a", "text": "t", "lang": "en", "page": 1, "tags": []}
    (plain,) = rows_of(jsonl(row), Format.JSONL, metadata_fields=("page", "more"))
    assert event(plain).metadata == {"page": 1}
    as_event = {"document_id": "a", "text": "t", "metadata": {"lang": "en", "page": 2}}
    (whole,) = rows_of(jsonl(as_event), Format.JSONL, metadata_fields=("page",))
    assert event(whole).metadata == {"page": 2}


@pytest.mark.parametrize(("form", "what"), [(Format.CSV, "the header"), (Format.PARQUET, "the table")])
def test_a_table_without_a_named_column_is_told(form: Format, what: str) -> None:
    """A misspelt name would leave the metadata out of every document."""
    (bad,) = rows_of(FILES[form], form, metadata_fields=("m",))
    assert f"{what} has no 'm' (it has 'document_id', 'text', 'n'): the file is not read" in problem(bad)


def test_a_delimiter_that_was_said_is_used() -> None:
    """Whatever the header looks like, and below Excel's line that says one."""
    for data in (b"document_id:text\na:b;c\n", b"sep=:\ndocument_id:text\na:b;c\n"):
        (row,) = rows_of(data, Format.CSV, delimiter=":")
        assert event(row).text == "b;c"


def test_cells_that_json_does_not_have() -> None:
    """Bytes that are text, no number, and a list, which is left out and noted."""
    written = io.BytesIO()
    table = {"document_id": [b"a"], "text": ["t"], "x": [float("nan")], "y": [[1, 2]], "z": [b"\xff"]}
    pq.write_table(pa.table(table), written)
    *notes, row = rows_of(written.getvalue(), Format.PARQUET)
    assert (event(row).document_id, event(row).metadata) == ("a", {})
    assert len(notes) == 2
