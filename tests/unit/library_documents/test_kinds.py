"""Files that other programs have made, one or more of each kind: every one is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docsluice.documents.entries import Entry, ReadOptions, Unreadable
from docsluice.documents.kinds import KINDS, PACKED_SUFFIXES, SUFFIXES, Format, reader_of, stem_of, suffix_of
from docsluice.documents.reader_process import ReaderProcess
from docsluice.documents.reading import read
from docsluice.documents.rows import BadRow, Document, Row
from docsluice.documents.sources import Source, select
from tests.fakes.rows import event, problem

FILES = Path(__file__).parents[2] / "fixtures" / "files"
LETTER = ("The harbour", "Dear Mrs Nguyễn,", "Größe and Łódź are spelt with", "Yours, the harbour master")
LAMP = {"k1": "The lamp is broken, said the keeper.", "k2": "Đèn biển\nđã tắt."}


def sources(*names: str) -> list[Source]:
    return select([str(FILES / name) for name in names], other_format=None).sources


@pytest.fixture(scope="module")
def process() -> Iterator[ReaderProcess]:
    """One for all files, as the sender has it."""
    with ReaderProcess() as process:
        yield process


def rows(name: str, process: ReaderProcess | None = None) -> list[Row]:
    (source,) = sources(name)
    return list(read(source, ReadOptions(), process=process))


def test_a_folder_of_all_kinds_is_read() -> None:
    """Every file is one document or several, but for the two that have no text for us."""
    selection = select([str(FILES)], other_format=None)
    found: dict[str, list[Row]] = {}
    with ReaderProcess() as process:
        for source in selection.sources:
            found[source.relative] = list(read(source, ReadOptions(), process=process))
    assert {suffix_of(name) for name in found} >= set(SUFFIXES) - {".htm", ".ndjson"}
    assert selection.unread == {}
    bad = {name for name, all_of_it in found.items() if any(isinstance(row, BadRow) for row in all_of_it)}
    assert bad == {"locked.pdf", "scan.pdf"}
    assert all(any(isinstance(row, Document) for row in found[name]) for name in found.keys() - bad)


@pytest.mark.parametrize("name", ["letter.docx", "letter.pdf", "page.html", "packed.docx.xz"])
def test_a_letter_of_libreoffice(name: str, process: ReaderProcess) -> None:
    """Its text in all alphabets, its table, and its title, whatever it was saved as."""
    (row,) = rows(name, process)
    found = event(row)
    assert all(part in found.text for part in LETTER)
    assert "seven\t12" in found.text.replace("seven 12", "seven\t12")
    assert found.metadata["title"] == "A letter about the harbour"
    assert found.metadata["path"] == name
    assert str(found.metadata["modified_at"]).endswith("Z")


def test_slides(process: ReaderProcess) -> None:
    """A slide is a paragraph."""
    (row,) = rows("deck.pptx", process)
    assert event(row).text == "A second crane\n\nBerth seven is ready in May"
    assert event(row).metadata["title"] == "Plans of the harbour"


def test_a_workbook(process: ReaderProcess) -> None:
    """The sheet's name, then its rows. A date has no time that nobody wrote, and a whole number no point."""
    (row,) = rows("table.xlsx", process)
    assert event(row).text.splitlines()[:3] == ["table", "Item\tCount\tWhen", "Lamp\t3\t2026-05-01"]


def test_pages_are_paragraphs(process: ReaderProcess) -> None:
    """A PDF of groff, with two pages."""
    (row,) = rows("ropes.pdf", process)
    assert event(row).text.startswith("Ropes\nA sailor\nA rope of hemp holds a small boat.\n\n")
    assert event(row).text.endswith("It is tied with a bowline.")


def test_an_e_mail(process: ReaderProcess) -> None:
    """Who wrote it, when and about what stands above the message, decoded."""
    (row,) = rows("patch.eml", process)
    assert event(row).text.startswith("From: Łukasz Zieliński <l@example.com>\nDate: ")
    assert "\n\nThe keeper asked for it: the lamp is lit at dusk" in event(row).text
    assert event(row).metadata["title"] == "[PATCH] Light the lamp"


@pytest.mark.parametrize(
    "name",
    ["rows.csv", "rows.json", "rows.jsonl", "rows.parquet", "unicode.tsv", "packed.csv.bz2", "packed.jsonl.gz"],
)
def test_rows_of_other_programs(name: str, process: ReaderProcess) -> None:
    """Each row is a document: of SQLite, DuckDB and LibreOffice, packed or in UTF-16."""
    found = [event(row) for row in rows(name, process)]
    assert {one.document_id: one.text for one in found} == LAMP
    assert [str(one.metadata["pages"]) for one in found] == ["2", "3"]


def test_a_csv_of_excel() -> None:
    """With a byte order mark, semicolons, and a line break in a cell."""
    (row,) = rows("excel.csv")
    assert (event(row).document_id, event(row).text) == ("e1", "Ein Satz;\r\nzwei Zeilen")


def test_a_dates_column_of_parquet_is_iso_8601() -> None:
    """JSON has no dates."""
    assert {event(row).metadata["when"] for row in rows("rows.parquet")} == {"2026-05-01"}


@pytest.mark.parametrize(
    ("name", "why"),
    [("locked.pdf", "it is encrypted: qpdf --decrypt"), ("scan.pdf", "its page holds no text, only pictures perhaps")],
)
def test_a_pdf_without_text_for_us(name: str, why: str, process: ReaderProcess) -> None:
    """It is told what would help."""
    (row,) = rows(name, process)
    assert why in problem(row)


def test_a_kind_whose_library_is_missing_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, without a trace. The kinds that need none are read."""
    for kind in KINDS.values():
        if kind.needs:
            monkeypatch.setitem(sys.modules, kind.needs, None)
    for form, kind in KINDS.items():
        name = next(path.name for path in sorted(FILES.iterdir()) if suffix_of(path.name) in kind.suffixes)
        found = rows(name)
        if kind.needs:
            assert problem(found[0]) == f"{FILES / name}: needs a library: pip install 'docsluice[files]'", form
        else:
            assert event(found[-1]), form


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("a/b.TXT", ".txt", "a/b"),
        ("b.jsonl.gz", ".jsonl", "b"),
        ("b.tar.gz", ".gz", "b.tar"),
        ("b.gz", ".gz", "b"),
        ("b", "", "b"),
        (".txt", "", ".txt"),
        ("b.docx.XZ", ".docx", "b"),
    ],
)
def test_the_suffix_behind_which_a_file_may_be_packed(name: str, suffix: str, stem: str) -> None:
    """An archive of anything is no packed document."""
    assert (suffix_of(name), stem_of(name)) == (suffix, stem)


def test_every_kind_has_suffixes_of_its_own() -> None:
    """None is that of a packed file."""
    assert len(SUFFIXES) == sum(len(kind.suffixes) for kind in KINDS.values())
    assert not set(SUFFIXES) & set(PACKED_SUFFIXES)
    assert set(KINDS) == set(Format)


@pytest.mark.parametrize("path", sorted(FILES.iterdir()), ids=lambda path: path.name)
def test_a_process_says_what_its_reader_says(path: Path, process: ReaderProcess) -> None:
    """Entry for entry, and the same sentence for what cannot be read."""
    form = SUFFIXES[suffix_of(path.name)]
    if not KINDS[form].is_isolated or path.suffix in PACKED_SUFFIXES:
        return

    def told(entries: Iterator[Entry]) -> list[object]:
        found: list[object] = []
        try:
            found.extend(entries)
        except Unreadable as unreadable:
            found.append(str(unreadable))
        return found

    with path.open("rb") as file:
        here = told(reader_of(form)(file, ReadOptions(), after=0))
    assert told(process.read(path, form, ReadOptions(), after=0)) == here != []
