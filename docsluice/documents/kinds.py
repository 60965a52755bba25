"""The kinds of files: by which suffix they are known, and which reader finds their documents. Pure."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import cast

from docsluice.documents.entries import Reader

PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
"""Behind the suffix of a kind. What a file is packed with, its first bytes tell."""
EXTRA = "docsluice[files]"
"""What installs the libraries of all kinds."""


class Format(StrEnum):
    """How a file holds documents."""

    TEXT = "text"
    HTML = "html"
    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    EML = "eml"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file: its suffixes, and the module of its reader.

    `is_whole`: the file is one document. Otherwise, each of its rows is one. `is_text`: the reader gets UTF-8.
    `needs` is a library that only the extra installs. `is_isolated`: foreign code reads it, in a process of its own.
    """

    suffixes: tuple[str, ...]
    reader: str
    is_whole: bool = True
    is_text: bool = False
    needs: str | None = None
    is_isolated: bool = True


KINDS: Mapping[Format, Kind] = {
    Format.TEXT: Kind(suffixes=(".txt", ".md"), reader="plain", is_text=True, is_isolated=False),
    Format.HTML: Kind(suffixes=(".html", ".htm"), reader="html", is_text=True, needs="selectolax"),
    Format.PDF: Kind(suffixes=(".pdf",), reader="pdf", needs="pypdfium2"),
    Format.DOCX: Kind(suffixes=(".docx",), reader="word", needs="docx"),
    Format.PPTX: Kind(suffixes=(".pptx",), reader="slides", needs="pptx"),
    Format.XLSX: Kind(suffixes=(".xlsx",), reader="sheets", needs="openpyxl"),
    Format.EML: Kind(suffixes=(".eml",), reader="mail", needs="selectolax"),
    Format.CSV: Kind(suffixes=(".csv", ".tsv"), reader="csv_rows", is_whole=False, is_text=True, is_isolated=False),
    Format.JSON: Kind(suffixes=(".json",), reader="json_list", is_whole=False, is_text=True, is_isolated=False),
    Format.JSONL: Kind(
        suffixes=(".jsonl", ".ndjson"), reader="json_lines", is_whole=False, is_text=True, is_isolated=False
    ),
    Format.PARQUET: Kind(suffixes=(".parquet",), reader="parquet_rows", is_whole=False, needs="pyarrow"),
}
SUFFIXES: Mapping[str, Format] = {suffix: form for form, kind in KINDS.items() for suffix in kind.suffixes}


def suffix_of(name: str) -> str:
    """The suffix of a file's kind in small letters, without that of a packed file. Empty without one."""
    path = PurePath(name.lower())
    if path.suffix in PACKED_SUFFIXES and path.with_suffix("").suffix in SUFFIXES:
        path = path.with_suffix("")
    return path.suffix


def stem_of(relative: str) -> str:
    """A path without the suffixes of its kind and of a packed file."""
    suffix = suffix_of(relative)
    packed = PurePath(relative).suffix if PurePath(relative).suffix.lower() != suffix else ""
    bare = relative.removesuffix(packed)
    return bare[: len(bare) - len(suffix)] if suffix else bare


def reader_of(form: Format) -> Reader:
    """The reader of a kind. Its library is loaded only now.

    Raises:
        ImportError: the library is missing.
    """
    module = importlib.import_module(f"docsluice.documents.readers.{KINDS[form].reader}")
    return cast("Reader", module.read)


def is_installed(form: Format) -> bool:
    """Whether the library of a kind is there."""
    needs = KINDS[form].needs
    return needs is None or importlib.util.find_spec(needs) is not None
