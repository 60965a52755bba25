"""The document in a dead letter: exported to be corrected, sent again, and shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from docsluice.documents.entries import ReadOptions
from docsluice.documents.kinds import Format
from docsluice.documents.reading import read
from docsluice.documents.rows import BadRow, Document, Row
from docsluice.documents.sources import Source
from docsluice.messages import DocumentEvent
from docsluice_producer.dead_letters.document import exported
from docsluice_producer.dead_letters.marks import State
from docsluice_producer.dead_letters.showing import _lines
from docsluice_producer.following.text_files import json_text
from tests.fakes.dead_letters import event, fetched, letter

SENDABLE = {"document_id": "d1", "text": "The text.", "metadata": {"lang": "vi"}}


def of_value(value: bytes, **kept: Any) -> dict[str, Any]:
    return exported(letter(fetched(1, value=value, **kept)))


def test_an_export_has_all_there_is() -> None:
    """The document at the top level, before the fields of `list --json` and each header as text but for the trace."""
    one = letter(fetched(1, own=[("own", b"\xff")]), state=State.DROPPED)
    fields = exported(one)
    assert {name: fields[name] for name in one.fields} == one.fields
    assert (fields["place"], fields["state"], fields["kind"]) == ("0@1", "dropped", "dead_letter")
    assert {name: fields[name] for name in SENDABLE} == SENDABLE
    assert fields["headers"]["own"] == "\N{REPLACEMENT CHARACTER}"
    assert list(fields)[:4] == [*SENDABLE, "kind"]
    assert fields["headers"]["__docsluice.errors.exception.message"] == "not what the schema asks for"
    assert "__docsluice.errors.exception.stacktrace" not in fields["headers"]
    assert "value" not in fields


@pytest.mark.parametrize(
    ("value", "added"),
    [
        (b"not JSON", {"value": "not JSON"}),
        (b"\xff", {"value_base64": base64.b64encode(b"\xff").decode()}),
        (b"", {"value": ""}),
        (b'{"document_id": "d1"}', {"value": '{"document_id": "d1"}'}),
        (b'{"document_id": "d9", "text": "t", "x": 1}', {"text": "t", "document_id": "d9"}),
    ],
)
def test_what_is_no_document_keeps_its_value(value: bytes, added: dict[str, str]) -> None:
    """As text, or as base64 where it is none. What is nearly a document has its text beside it."""
    fields = of_value(value)
    assert {name: fields[name] for name in added} == added
    assert ("text" in fields) == ("text" in added)
    assert ("value" in fields) != ("value_base64" in fields)


@pytest.mark.parametrize("start", [b"\x00\x00\x00\x00\x07", b"\xef\xbb\xbf"])
def test_a_document_behind_a_frame_or_a_mark_is_one(start: bytes) -> None:
    """The service reads it, so it can be shown, corrected and sent when it fails later."""
    fields = of_value(start + b'{"document_id": "d9", "text": "t", "metadata": {"a": 1}}')
    assert (fields["document_id"], fields["text"]) == ("d9", "t")
    assert "value" not in fields


def test_plain_text_is_a_document() -> None:
    """Its id is the record's key, as it is for the service."""
    fields = of_value(b"Xin ch\xc3\xa0o", own=[("content-type", b"text/plain; charset=utf-8")])
    assert (fields["document_id"], fields["text"]) == ("d1", "Xin chào")


def test_plain_text_in_a_cloudevent_is_a_document() -> None:
    """Its subject is its id, as it is for the service."""
    wrapped = json.dumps({"specversion": "1.0", "datacontenttype": "text/plain", "subject": "d9", "data": "T"}).encode()
    fields = of_value(wrapped, own=[("content-type", b"application/cloudevents+json")])
    assert (fields["document_id"], fields["text"]) == ("d9", "T")


def test_a_structured_cloudevent_is_a_document() -> None:
    """The event in it is what can be corrected."""
    wrapped = json.dumps({"specversion": "1.0", "data": json.loads(event("d1"))}).encode()
    assert {name: of_value(wrapped)[name] for name in SENDABLE} == SENDABLE


def sent(tmp_path: Path, *lines: str, id_field: str = "document_id", text_field: str = "text") -> list[Row]:
    path = tmp_path / "dead.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    source = Source(name=path.name, path=path, format=Format.JSONL, document_id="")
    return list(read(source, ReadOptions(id_field=id_field, text_field=text_field)))


def test_an_export_can_be_sent(tmp_path: Path) -> None:
    """`send` takes the document and its metadata, and leaves behind what went wrong. What is no document is named."""
    good, bad = exported(letter(fetched(1))), of_value(b"not JSON")
    document, row = sent(tmp_path, json_text(good | {"text": "mended"}), json_text(bad))
    assert isinstance(document, Document)
    assert DocumentEvent.model_validate_json(document.value) == DocumentEvent(
        document_id="d1", text="mended", metadata={"lang": "vi"}
    )
    assert isinstance(row, BadRow)
    assert row.problem == "no 'text'"


def test_an_export_can_be_sent_with_fields_of_other_names(tmp_path: Path) -> None:
    """The person who corrects it may add a column."""
    line = json_text(exported(letter(fetched(1))) | {"body": "mended"})
    (document,) = sent(tmp_path, line, text_field="body")
    assert isinstance(document, Document)
    assert json.loads(document.value)["text"] == "mended"


def test_other_rows_keep_such_columns(tmp_path: Path) -> None:
    """A column that is called `kind` is metadata in any file but an export."""
    row = {"document_id": "a", "text": "t", "kind": "dead_letter", "place": "Hà Nội"}
    (document,) = sent(tmp_path, json.dumps(row))
    assert isinstance(document, Document)
    assert json.loads(document.value)["metadata"] == {"kind": "dead_letter", "place": "Hà Nội"}


def shown(record: Any, *, bounded: bool = False, with_trace: bool = False) -> str:
    return "\n".join(_lines(letter(record), "documents.dlq", bounded=bounded, with_trace=with_trace))


def test_a_dead_letter_is_shown_whole() -> None:
    """What happened, the text with its indentation, and then each header."""
    text = shown(fetched(1, own=[("own", b"mine")], value=event("d1", "Line one.\n  Line two.")))
    assert text.startswith("d1  0@1 of documents.dlq, open\ninvalid_answer at analyze summary: not what")
    assert "after 3 calls in its last run; $0.5 in all of its runs, sent again 0 times" in text
    document, headers, trace = text.split("\n\n")[1:]
    assert document.endswith("\n  Line one.\n    Line two.")
    assert "  own: mine\n" in headers
    assert "exception.message: not what" in headers
    assert trace == "stack trace: --trace shows it"


@pytest.mark.parametrize(
    ("reason", "with_trace", "is_shown"),
    [("refused", False, False), ("refused", True, True), ("unexpected", False, True)],
)
def test_a_stack_trace_is_shown_where_it_helps(reason: str, *, with_trace: bool, is_shown: bool) -> None:
    """For a bug it is shown, to be reported. For anything else it is shown on request. With its indentation."""
    text = shown(fetched(1, reason=reason), with_trace=with_trace)
    assert text.endswith("\nstack trace\n  Traceback (most recent call last):\n    File x\n  RecordRejected: no") == (
        is_shown
    )


def test_no_stack_trace_is_not_spoken_of() -> None:
    """Where the headers have none there is none to ask for."""
    assert "stack trace" not in shown(fetched(1, exception_stacktrace=None))


@pytest.mark.parametrize("value", [b"\x1b[2Jwiped", event("d1", "\x1b[2Jwiped")])
def test_nothing_shown_can_move_the_cursor(value: bytes) -> None:
    """Neither a document nor a header, a message or a trace is trusted."""
    record = fetched(
        1,
        own=[("\x1b[2J", b"\x1b[2J")],
        value=value,
        key=b"\x1b]0;title\x07",
        reason="\x1b[31m",
        stage="\x9b",
        exception_message="\x1b[2J",
        exception_stacktrace="\x1b[2J\r\nline",
    )
    text = shown(record, with_trace=True)
    assert "wiped" in text
    assert all(one == "\n" or one.isprintable() or one == "\N{REPLACEMENT CHARACTER}" for one in text)


def test_a_long_document_is_cut_on_a_terminal_only() -> None:
    """With a word on how to have all of it."""
    record = fetched(1, value=event("d1", "x" * 5_000))
    assert "x" * 5_000 in shown(record)
    text = shown(record, bounded=True)
    assert "x" * 2_000 in text
    assert "x" * 2_001 not in text
    assert "3,000 characters more" in text
    assert "dead-letters export --all --id d1 --dead-letter-topic documents.dlq --to FILE.jsonl" in text


def test_bytes_that_are_no_text_are_not_shown() -> None:
    """Only how many there are."""
    assert "\nvalue: 2 bytes that are no UTF-8; `export` writes it as value_base64\n" in shown(
        fetched(1, value=b"\xff\x00")
    )
