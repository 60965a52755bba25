"""Texts in encodings other than UTF-8: by their mark, by what was said, or by a guess that is told."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.documents.encoding import encoding_of, in_utf_8
from docsluice.documents.entries import Unreadable
from docsluice.documents.kinds import Format
from docsluice.documents.rows import Note
from tests.fakes.rows import event, problem, rows_of

GERMAN = "Grüße aus Köln: das Gerät läuft wieder, bitte prüfen."
RUSSIAN = "Привет, мир. Это просто текст, чтобы проверить кодировку."
JAPANESE = "日本語のテキストです。これは文字コードの試験です。"
ROWS = "document_id,text\r\na,schön\r\n"


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.TEXT, "A longer text, mostly ASCII, with a ü.\n"),
        (Format.CSV, ROWS),
        (Format.JSON, '[{"document_id": "a", "text": "schön"}]'),
        (Format.JSONL, '{"document_id": "a", "text": "schön"}\n'),
    ],
)
def test_a_wide_encoding_is_told_by_its_mark_or_its_zeros(name: str, form: Format, text: str) -> None:
    """Nothing has to be said, and nothing is noted."""
    (row,) = rows_of(text.encode(name), form)
    assert event(row).text == (text if form is Format.TEXT else "schön")


@pytest.mark.parametrize(
    ("text", "name"),
    [(GERMAN, "cp1252"), (RUSSIAN, "cp1251"), (JAPANESE, "cp932"), ("Zażółć gęślą jaźń, proszę państwa", "cp1250")],
)
def test_other_encodings_are_guessed_and_the_guess_is_told(text: str, name: str) -> None:
    """A person sees which one, and how to say another."""
    note, row = rows_of(text.encode(name), Format.TEXT)
    assert isinstance(note, Note)
    assert note.text == f"read as {name}, as far as can be told: --encoding NAME says another"
    assert event(row).text == text


def test_a_csv_is_guessed_too() -> None:
    """Excel writes it in the encoding of its country."""
    note, row = rows_of(f'document_id;text\r\na;"{GERMAN}"\r\n'.encode("cp1252"), Format.CSV)
    assert isinstance(note, Note)
    assert event(row).text == GERMAN


def test_json_is_not_guessed() -> None:
    """It is UTF-8 by its standard. A line that is not is damaged, and one line tells little."""
    (row,) = rows_of(b'{"document_id": "a", "text": "\xfc"}', Format.JSONL)
    assert "if it is Windows-1252, --encoding windows-1252 reads it" in problem(row)


@pytest.mark.parametrize("form", [Format.TEXT, Format.HTML, Format.CSV, Format.JSONL, Format.JSON])
def test_an_encoding_that_is_said_is_used(form: Format) -> None:
    """For each kind of text, and without a note."""
    text = {Format.CSV: ROWS, Format.TEXT: "schön", Format.HTML: "<p>schön</p>"}.get(
        form, '{"document_id": "a", "text": "schön"}'
    )
    (row,) = rows_of(text.encode("cp1252"), form, encoding="cp1252")
    assert event(row).text == "schön"


def test_bytes_that_the_encoding_does_not_have_are_a_bad_row() -> None:
    """The rows around it are read."""
    first, bad, last = rows_of(b"document_id,text\na,x\nb,\x81\nc,\xe9\n", Format.CSV, encoding="cp1252")
    assert problem(bad).startswith("file:3: not UTF-8")
    assert [event(row).text for row in (first, last)] == ["x", "é"]


def test_half_a_character_of_a_wide_encoding_is_told() -> None:
    """What was read before it stays."""
    first, bad = rows_of(ROWS.encode("utf-16") + b"b", Format.CSV)
    assert event(first).text == "schön"
    assert "it is no valid utf-16" in problem(bad)


def test_without_the_detector_the_flag_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what installs the detector."""
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    (row,) = rows_of(GERMAN.encode("cp1252"), Format.TEXT)
    assert "say --encoding NAME" in problem(row)
    assert "pip install 'docsluice[files]'" in problem(row)


def test_damaged_utf_8_is_not_taken_for_another_encoding() -> None:
    """One bad byte among good letters."""
    assert encoding_of("größer".encode() + b"\xff" + "Öl".encode(), guess=True).is_utf_8


@given(st.binary())
def test_any_bytes_have_an_encoding_or_none(data: bytes) -> None:
    """Whatever it is, the text in it is UTF-8 afterwards, or the file is told to be none."""
    for guess in (False, True):
        with contextlib.suppress(Unreadable):
            name = encoding_of(data, guess=guess).name
            assert isinstance(in_utf_8(io.BytesIO(data), name).read(), bytes)
