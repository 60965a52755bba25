"""Files to rows: what is a document, what is a bad row, and where it says so."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.documents import lines
from docsluice.documents.entries import ReadOptions
from docsluice.documents.kinds import KINDS, Format
from docsluice.documents.readers import csv_rows, json_lines, json_list, plain
from docsluice.documents.reading import read
from docsluice.documents.rows import BadRow, Document, Note
from docsluice.documents.sources import Source
from docsluice.messages import DocumentEvent
from tests.fakes.rows import event, jsonl, problem, rows_of

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
OWN_READERS = [form for form, kind in KINDS.items() if not kind.is_isolated]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(ANY_TEXT, children, max_size=3),
    max_leaves=5,
)


def test_plain_columns_become_metadata_and_nothing_else_does() -> None:
    """Strings, numbers and booleans go to the metadata. A null is absent. A list is left out, which is said once."""
    row = {
        "document_id": "a",
        "text": "t",
        "lang": "vi",
        "page": 3,
        "new": True,
        "score": 0.5,
        "none": None,
        "tags": [],
    }
    note, first, second = rows_of(jsonl(row, row), Format.JSONL)
    assert isinstance(note, Note)
    assert str(note.place) == "file:1"
    assert "'tags' is a list" in note.text
    assert event(first) == event(second)
    assert event(first).metadata == {"lang": "vi", "page": 3, "new": True, "score": 0.5}


def test_a_row_that_is_an_event_is_taken_as_it_is() -> None:
    """A row with an event's own fields is the event, whatever the id and text fields are called elsewhere."""
    row = {"document_id": "a", "text": "t", "metadata": {"lang": "en"}, "schema_version": 1}
    (document,) = rows_of(jsonl(row), Format.JSONL, id_field="uid", text_field="body")
    assert event(document) == DocumentEvent.model_validate(row)


def test_a_metadata_object_is_kept_beside_other_columns() -> None:
    """A row with renamed fields loses none of the metadata that it brings."""
    row = {"uid": "a", "body": "t", "metadata": {"lang": "en"}, "page": 1}
    (document,) = rows_of(jsonl(row), Format.JSONL, id_field="uid", text_field="body")
    assert event(document).metadata == {"lang": "en", "page": 1}


def test_a_whole_number_is_an_id() -> None:
    """Ids that a database counted up become strings."""
    (document,) = rows_of(jsonl({"document_id": 17, "text": "t"}), Format.JSONL)
    assert (event(document).document_id, isinstance(document, Document) and document.key) == ("17", b"17")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nope", "not JSON: Expecting value at character 1"),
        (b'{"document_id": "a", "text": "t"', "not JSON"),
        (b"[1]", "must be a JSON object, not a list"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"text": "t"}', "no 'document_id'"),
        (b'{"document_id": null, "text": "t"}', "no 'document_id'"),
        (b'{"document_id": true, "text": "t"}', "'document_id' must be a string, not a boolean"),
        (b'{"document_id": " ", "text": "t"}', "'document_id' is blank"),
        (b'{"document_id": "a"}', "no 'text'"),
        (b'{"document_id": "a", "text": 5}', "'text' must be a string, not a number"),
        (b'{"document_id": "a", "text": " \\n"}', "'text' is blank"),
        (b'{"document_id": "a", "text": "\\ud800"}', "not valid Unicode"),
        (b'{"document_id": "a", "text": "t", "\\ud800": 1}', "not valid Unicode"),
        (b'{"document_id": "a", "text": "t", "n": NaN}', "not JSON: NaN"),
        (b'{"document_id": "a", "text": "t", "n": 1e999}', "metadata.n: must be a string, a finite number"),
        (b'{"document_id": "a", "text": "t", "metadata": {"a": [1]}}', "metadata.a: must be"),
        (b'{"document_id": "a", "text": "t", "schema_version": 0}', "schema_version"),
        (b'{"document_id": "a", "text": "\x81"}', "not UTF-8: byte 0x81 at position 31"),
        (
            b'{"document_id": "a", "text": "\xfc"}',
            "not UTF-8: byte 0xfc at position 31; if it is Windows-1252, --encoding windows-1252 reads it",
        ),
    ],
)
def test_a_bad_line_says_where_and_why_and_the_rest_is_read(line: bytes, why: str) -> None:
    """A bad line is one bad row with its own number, and the lines around it are documents."""
    good = jsonl({"document_id": "a", "text": "t"})
    first, bad, last = rows_of(good + b"\n" + line + b"\n" + good, Format.JSONL)
    assert event(first) == event(last)
    assert problem(bad).startswith("file:3: ")
    assert why in problem(bad)


def test_a_problem_never_holds_the_text() -> None:
    """What is wrong with a row is told without its contents, which may be nobody's business."""
    secret = "very secret text"
    broken = f'{{"document_id": "a", "text": "{secret}", "metadata": {{"k": ["{secret}"]}}}}\n{{"text": "{secret}'
    for row in rows_of(broken.encode(), Format.JSONL):
        assert secret not in problem(row)


def test_a_problem_is_as_short_as_the_consumer_would_tell_it() -> None:
    """A row may have any number of things wrong with it, and a person reads a line."""
    metadata = {str(number): None for number in range(1_000)}
    (bad,) = rows_of(jsonl({"document_id": "a", "text": "t", "metadata": metadata}), Format.JSONL)
    assert problem(bad).endswith("; and 995 more")
    assert len(problem(bad)) < 500


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf"])
def test_a_byte_order_mark_belongs_to_no_row(mark: bytes) -> None:
    """Files that begin with a byte order mark read as if they did not, also if two programs have written one."""
    (text,) = rows_of(mark + b"hello", Format.TEXT)
    (row,) = rows_of(mark + jsonl({"document_id": "a", "text": "t"}), Format.JSONL)
    (cells,) = rows_of(mark + b"document_id,text\na,t\n", Format.CSV)
    assert [event(text).text, event(row).text, event(cells).text] == ["hello", "t", "t"]


def test_a_mark_between_joined_files_belongs_to_no_row() -> None:
    """Where several files of lines were joined, each may have begun with one."""
    part = b"\xef\xbb\xbf" + jsonl({"document_id": "a", "text": "t"})
    assert [event(row).text for row in rows_of(part + b"\xef\xbb\xbf\n" + part, Format.JSONL)] == ["t", "t"]


DOCUMENTS = [{"document_id": f"d{number}", "text": f"text {number}", "page": number} for number in range(3)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_json_list_is_read_as_its_documents(indent: int | None, mark: bytes) -> None:
    """Written in one line or over many, each of its objects is a document. One alone is, too."""
    rows = rows_of(mark + json.dumps(DOCUMENTS, indent=indent).encode(), Format.JSON)
    assert [event(row).document_id for row in rows] == ["d0", "d1", "d2"]
    assert event(rows[2]).metadata == {"page": 2}
    (alone,) = rows_of(json.dumps(DOCUMENTS[1], indent=indent).encode(), Format.JSON)
    assert event(alone).text == "text 1"


def test_a_bad_document_of_a_json_list_says_which_it_is() -> None:
    """And the others are read."""
    first, bad, also_bad, last = rows_of(
        json.dumps([DOCUMENTS[0], {"text": "t"}, 7, DOCUMENTS[1]]).encode(), Format.JSON
    )
    assert problem(bad) == "file: document 2: no 'document_id'"
    assert problem(also_bad) == "file: document 3: must be a JSON object, not a number"
    assert [event(first).document_id, event(last).document_id] == ["d0", "d1"]


BATCH = [{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}}] * 3
ANSWERS: list[dict[str, Any]] = [{"id": "b", "custom_id": "a", "response": {"body": {}}, "error": None}] * 3
FINE_TUNING = [{"messages": [{"role": "user", "content": "secret"}]}] * 3


@pytest.mark.parametrize(
    ("data", "form", "why"),
    [
        (json.dumps(DOCUMENTS, indent=2).encode(), Format.JSONL, "one JSON list over several lines"),
        (json.dumps(DOCUMENTS).replace("}, ", "},\n").encode(), Format.JSONL, "one JSON list over several lines"),
        (json.dumps(DOCUMENTS[0], indent=2).encode(), Format.JSONL, "it is JSON over several lines"),
        (json.dumps(DOCUMENTS).encode(), Format.JSONL, "must be a JSON object, not a list"),
        (lz4.frame.compress(jsonl(*DOCUMENTS)), Format.JSONL, "compressed with lz4: unpack it first"),
        (b"PK\x03\x04\x14\x00\x06\x00", Format.CSV, "a ZIP archive, as .docx and .xlsx files are"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", Format.TEXT, "it is a PDF: a suffix of its own tells how to read it"),
        (b"\xfftext\x00\x01\x02\x00\x00\x00more", Format.TEXT, "binary data"),
        (jsonl(*BATCH), Format.JSONL, "an OpenAI batch file"),
        (json.dumps(BATCH).encode(), Format.JSON, "an OpenAI batch file"),
        (jsonl(*ANSWERS), Format.JSONL, "the output of an OpenAI batch"),
        (jsonl(*FINE_TUNING), Format.JSONL, "a fine-tuning file"),
        (b"[]", Format.JSON, "an empty list"),
        (b"[{]", Format.JSON, "not JSON"),
    ],
)
def test_a_file_of_another_kind_is_told_in_one_line(data: bytes, form: Format, why: str) -> None:
    """What it is and what is wanted, once, however many lines it has."""
    (bad,) = rows_of(data, form)
    assert why in problem(bad)
    assert "secret" not in problem(bad)


def test_a_cut_first_line_is_a_bad_row_of_its_own() -> None:
    """The documents below it are no part of it."""
    bad, good = rows_of(b'{"document_id": "a",\n' + jsonl(DOCUMENTS[0]), Format.JSONL)
    assert "file:1: not JSON" in problem(bad)
    assert event(good).document_id == "d0"


@pytest.mark.parametrize("identity", ["\U0001f4c4-1", "\u202eabc", "a\u0000b", "\ufeffx"])
def test_an_odd_id_is_an_id(identity: str) -> None:
    """Emoji, marks of direction and even NUL come through as they are."""
    (document,) = rows_of(jsonl({"document_id": identity, "text": "t"}), Format.JSONL)
    assert event(document).document_id == identity


def test_a_text_is_one_document() -> None:
    """A text file keeps every character, and has the id that it was given."""
    (document,) = rows_of("  một\r\nhai\n".encode(), Format.TEXT)
    assert (event(document).document_id, event(document).text) == ("the-id", "  một\r\nhai\n")


@pytest.mark.parametrize(
    ("data", "why"), [(b" \n", "text: must not be blank"), ("é\nb\n".encode() + b"\xff", "file:3: not UTF-8")]
)
def test_a_bad_text_is_one_bad_row(data: bytes, why: str) -> None:
    """A blank text and one that is no UTF-8 cannot be sent. The second says on which line."""
    (bad,) = rows_of(data, Format.TEXT)
    assert why in problem(bad)


@pytest.mark.parametrize("form", OWN_READERS)
def test_a_line_without_end_is_a_bad_row(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than a row may be is reported, not read into memory. The next line is read again."""
    for module in (lines, csv_rows, json_lines, json_list, plain):
        monkeypatch.setattr(module, "LINE_BYTES", 100)
    if form is Format.JSONL:
        long, good = jsonl({"document_id": "long", "text": "x" * 3_000}), jsonl({"document_id": "a", "text": "t"})
        bad, after = rows_of(long + good, form)
        assert problem(bad).startswith("file:1: longer than")
        assert event(after).document_id == "a"
    elif form is Format.CSV:
        bad, after = rows_of(b"document_id,text\nlong," + b"x" * 3_000 + b"\na,t\n", form)
        assert problem(bad).startswith("file:2: longer than")
        assert event(after).document_id == "a"
    else:
        (bad,) = rows_of(b"x" * 3_000, form)
        assert problem(bad).startswith("file: longer than")


def test_a_file_that_cannot_be_opened_is_a_bad_row(tmp_path: Path) -> None:
    """A file that went away after it was found does not end the sending of the others."""
    source = Source(path=tmp_path / "gone.jsonl", name="gone.jsonl", format=Format.JSONL)
    (bad,) = read(source, ReadOptions())
    assert problem(bad) == "gone.jsonl: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"document_id": "1", "text": "a"},', "not JSON: it is followed by a comma"),
        (b'{"document_id": "1", "text": "a"}{"document_id"', "not JSON: it is a sequence of JSON values, not one"),
        (b'[{"document_id": "1", "text": "a"}]', "not a list; a file that holds one list is named .json"),
        (b'{"document_id": "1", "text": "a", "text": "b"}', "text: is there more than once"),
        (b'{"document_id": "1", "text": "a", "x": 1, "x": 2}', "x: is there more than once"),
        (b'{"document_id": "1", "text": "a", "metadata": {"y": 1, "y": 2}}', "metadata.y: is there more than once"),
    ],
)
def test_a_line_that_is_nearly_a_document_says_what_to_change(line: bytes, why: str) -> None:
    """Which of two values is meant, nobody knows. The consumer would refuse it, too."""
    (bad,) = rows_of(line + b"\n", Format.JSONL)
    assert why in problem(bad)


@pytest.mark.parametrize("form", [Format.CSV, Format.JSONL])
def test_lines_that_end_in_a_carriage_return_alone_are_told(form: Format) -> None:
    """Read as one line, their rows would be one bad row without a cause."""
    (bad,) = rows_of(b"document_id,text\r1,a\r", form)
    assert "a carriage return alone" in problem(bad)


def test_a_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its descriptor may belong to another file by now, whose bytes are no documents."""
    monkeypatch.setattr("sys.stdin", None)
    source = Source(path=None, name="stdin", format=Format.JSONL)
    (bad,) = read(source, ReadOptions())
    assert problem(bad) == "stdin: cannot be read: it is closed"


@given(st.lists(st.dictionaries(st.sampled_from(["document_id", "text", "metadata", "x"]), JSON_VALUES) | JSON_VALUES))
def test_every_json_line_is_one_row(rows: list[Any]) -> None:
    """Whatever JSON the lines hold, each is one document that the contract accepts or one bad row, in order."""
    found = [row for row in rows_of(b"\n" + jsonl(*rows), Format.JSONL) if not isinstance(row, Note)]
    assert [row.place.line for row in found] == list(range(2, len(rows) + 2))
    for given_row, row in zip(rows, found, strict=True):
        if isinstance(row, Document):
            sent = event(row)
            assert (sent.document_id, sent.text) == (str(given_row["document_id"]), given_row["text"])
            assert all(not isinstance(value, float) or math.isfinite(value) for value in sent.metadata.values())


@given(st.binary() | st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"\xff", b"\x00"])).map(b"".join))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    """Any bytes at all, read as any format, are rows: no exception, and no document that the contract rejects."""
    header = b"document_id,text\n"
    for form, content in ((Format.CSV, header + data), *((form, data) for form in OWN_READERS)):
        for row in rows_of(content, form):
            assert isinstance(row, BadRow | Note) or event(row)
