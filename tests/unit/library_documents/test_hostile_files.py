"""Files that are empty, damaged, misnamed or made to do harm: each is one sentence, and the next file is read."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from docsluice.documents import reader_process, reading
from docsluice.documents.entries import ReadOptions
from docsluice.documents.kinds import KINDS, SUFFIXES, Format, suffix_of
from docsluice.documents.reader_process import ReaderProcess
from docsluice.documents.reading import read
from docsluice.documents.rows import BadRow, Note, Row
from docsluice.documents.sources import Source
from tests.fakes.rows import event, problem

FILES = Path(__file__).parents[2] / "fixtures" / "files"
SLOW = Path(__file__).parents[2] / "fixtures" / "slow_readers"


def rows(folder: Path, data: bytes, form: Format, *, process: ReaderProcess | None = None) -> list[Row]:
    path = folder / "file"
    path.write_bytes(data)
    source = Source(path=path, name="file", format=form, document_id="a", relative="file")
    return [row for row in read(source, ReadOptions(), process=process) if not isinstance(row, Note)]


def archive(**parts: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name.replace("__", "/").replace("_xml", ".xml"), data)
    return packed.getvalue()


@pytest.fixture(scope="module")
def process() -> Iterator[ReaderProcess]:
    """One for all files, as the sender has it."""
    with ReaderProcess() as process:
        yield process


@pytest.mark.parametrize("form", [form for form, kind in KINDS.items() if not kind.needs])
def test_an_empty_file(tmp_path: Path, form: Format) -> None:
    """Of any kind."""
    (row,) = rows(tmp_path, b"", form)
    assert problem(row) == "file: it is empty"


@pytest.mark.parametrize(
    ("data", "form", "why"),
    [
        (b"just text", Format.PDF, "it is no PDF"),
        (b"%PDF-1.7 and no more", Format.PDF, "it is damaged, or no PDF"),
        (b"%PDF-1.7 and no more", Format.DOCX, "it is a PDF, not a Word document"),
        (b"just text", Format.XLSX, "it is damaged, or not an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 100, Format.DOCX, "with a password, or of the kind before 2007"),
        (archive(a=b"b"), Format.PPTX, "it is a ZIP archive, not a PowerPoint presentation"),
        (archive(word__document_xml=b"<"), Format.DOCX, "it is damaged, or not a Word document"),
        (archive(xl__workbook_xml=b"<"), Format.XLSX, "it is damaged, or not an Excel workbook"),
        (archive(ppt__presentation_xml=b"<"), Format.PPTX, "it is damaged, or not a PowerPoint presentation"),
        (b"PAR1 and no more", Format.PARQUET, "it is damaged, or no Parquet file"),
        (b"no header\n\nat all", Format.EML, "it is no e-mail"),
        (b"Subject: nothing\n\n", Format.EML, "it holds no message"),
        (b"<p></p>", Format.HTML, "text: must not be blank"),
        (bytes(range(256)) * 8, Format.TEXT, "binary data"),
        (gzip.compress(b"a text")[:-9], Format.TEXT, "is packed, and damaged"),
        (lzma.compress(b"a text " * 99)[:-20], Format.TEXT, "is packed, and damaged"),
        (b"BZh9 and no more", Format.TEXT, "cannot be read: Invalid data stream"),
        (b"\x28\xb5\x2f\xfd and no more", Format.TEXT, "is packed, and damaged"),
    ],
    ids=lambda given: "data" if isinstance(given, bytes) else None,  # archives hold the time when they were made
)
def test_a_file_that_is_not_what_its_name_says(
    tmp_path: Path, process: ReaderProcess, data: bytes, form: Format, why: str
) -> None:
    """What it is, or that it is damaged, in one sentence that quotes nothing."""
    (row,) = rows(tmp_path, data, form, process=process)
    assert why in problem(row)


def test_an_archive_that_unfolds_to_gigabytes(tmp_path: Path) -> None:
    """It is refused by its list of parts, before anything is unfolded."""
    bomb = archive(word__document_xml=b"\x00" * 19_088_743)
    sizes = (19_088_743).to_bytes(4, "little")
    assert bomb.count(sizes) == 2
    (row,) = rows(tmp_path, bomb.replace(sizes, (4 * 10**9).to_bytes(4, "little")), Format.DOCX)
    assert problem(row) == "file: it unfolds to 3,814 MiB, more than the 512 MiB that are read"


def test_a_packed_file_that_unfolds_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is read to its bound, and what needs a file of its own is unfolded to its bound."""
    bomb = gzip.compress(b"a" * (70 * 1024 * 1024), compresslevel=1)
    (row,) = rows(tmp_path, bomb, Format.TEXT)
    assert problem(row) == "file: longer than 64 MiB"
    monkeypatch.setattr(reading, "MOST_FILE_BYTES", 1024 * 1024)
    (row,) = rows(tmp_path, bomb, Format.PDF)
    assert problem(row) == "file: it unfolds to more than the 1 MiB that are read"


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> ReaderProcess:
    """A process whose PDF reader does what the file says, with a second for each entry and 512 MiB."""
    monkeypatch.setenv("PYTHONPATH", str(SLOW))
    return ReaderProcess(seconds=1, memory_bytes=512 * 1024**2)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (b"%PDF-hang", "file: its reader was stopped after 1 s"),
        (b"%PDF-crash", "file: its reader crashed (signal 11)"),
        (b"%PDF-exit", "file: its reader crashed (exit code 7)"),
        (b"%PDF-memory", "file: it needs more than 512 MiB of memory"),
        (b"%PDF-raise", "file: it is damaged, or its reader cannot read it (ZeroDivisionError)"),
    ],
)
def test_a_reader_that_fails_ends_only_itself(tmp_path: Path, reader: ReaderProcess, order: bytes, why: str) -> None:
    """The sender is told of what it died, and reads the next file."""
    with reader:
        (row,) = rows(tmp_path, order, Format.PDF, process=reader)
        assert problem(row).startswith(why)
        (row,) = rows(tmp_path, b"%PDF-print", Format.PDF, process=reader)
        assert event(row).text == "printed"


def test_nothing_in_the_working_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the folder that is sent, with anybody's modules in it."""
    monkeypatch.chdir(tmp_path)
    for module in ("json", "signal", "docx"):
        (tmp_path / f"{module}.py").write_text(f"open('{tmp_path}/was_run', 'w')", encoding="utf-8")
    (row,) = rows(tmp_path, (FILES / "letter.docx").read_bytes(), Format.DOCX)
    assert event(row).text.startswith("The harbour")
    assert not (tmp_path / "was_run").exists()


def test_a_file_that_is_left_in_the_middle_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """As with --limit. What its reader still writes belongs to nobody."""
    table = FILES / "rows.parquet"
    source = Source(path=table, name="rows", format=Format.PARQUET)
    with ReaderProcess() as process:
        half = read(source, ReadOptions(), process=process)
        assert event(next(half)).document_id == "k1"
        half.close()  # type: ignore[attr-defined]  # it is a generator
        assert [event(row).document_id for row in read(source, ReadOptions(), process=process)] == ["k1", "k2"]


def changed(name: str, part: str, tag: bytes) -> bytes:
    """An Office file whose first text is a local file, if its reader follows what the XML says."""
    written = io.BytesIO()
    declared = f'?><!DOCTYPE x [<!ENTITY e SYSTEM "{(FILES / "lamp.md").as_uri()}">]>'.encode()
    with zipfile.ZipFile(FILES / name) as before, zipfile.ZipFile(written, "w") as after:
        for one in before.namelist():
            data = before.read(one)
            if one == part:
                head, found, rest = data.replace(b"?>", declared, 1).partition(tag)
                assert found
                data = head + found + b"&e;" + rest
            after.writestr(one, data)
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "part", "tag"),
    [
        ("letter.docx", "word/document.xml", b"<w:t>"),
        ("deck.pptx", "ppt/slides/slide1.xml", b"<a:t>"),
        ("table.xlsx", "xl/sharedStrings.xml", b'<t xml:space="preserve">'),
    ],
)
def test_a_document_never_holds_another_file_of_this_machine(
    tmp_path: Path, process: ReaderProcess, name: str, part: str, tag: bytes
) -> None:
    """XML may name files to be put in."""
    (row,) = rows(tmp_path, changed(name, part, tag), Format(name.rpartition(".")[2]), process=process)
    assert isinstance(row, BadRow) or "It is lit at dusk" not in event(row).text


def test_damaged_files_are_rows_all_the_same(tmp_path: Path, process: ReaderProcess) -> None:
    """A few bytes of each are changed, by a seeded draw: no exception, and a sentence for what cannot be read."""
    draw = random.Random(7)
    for path in sorted(FILES.iterdir()):
        form = SUFFIXES[suffix_of(path.name)]
        for _ in range(5):
            data = bytearray(path.read_bytes())
            for _ in range(draw.choice([1, 20])):
                data[draw.randrange(len(data))] = draw.randrange(256)
            for row in rows(tmp_path, bytes(data), form, process=process):
                assert problem(row) if isinstance(row, BadRow) else event(row)


@pytest.mark.parametrize(
    ("name", "last"),
    [("rows.parquet", b'{"document_id": "k2"'), ("scan.pdf", b'"its page holds no text'), ("gone.pdf", b'"[Errno 2]')],
)
def test_a_request_is_answered_in_lines(name: str, last: bytes) -> None:
    """Entries, perhaps a sentence, and the end."""
    request = {"path": str(FILES / name), "format": name.rpartition(".")[2], "after": 0, "options": {}}
    out = io.BytesIO()
    reader_process._answer(request, out, seconds=60)
    *_, answer, end = out.getvalue().splitlines()
    assert end == b"null"
    assert last in answer
