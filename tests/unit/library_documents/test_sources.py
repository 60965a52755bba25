"""PATHs to files, formats and document ids."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.documents.entries import ReadOptions
from docsluice.documents.kinds import Format
from docsluice.documents.reading import read
from docsluice.documents.rows import BadRow
from docsluice.documents.sources import select
from docsluice_producer.errors import WrongUsage


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text", encoding="utf-8")


def ids(*paths: Path) -> list[str]:
    return [source.document_id for source in select([str(path) for path in paths], other_format=None).sources]


def test_a_folder_gives_its_texts_in_order(tmp_path: Path) -> None:
    """All known kinds below a folder, sorted, a whole file with its path less the suffix as id. The rest is counted."""
    write(tmp_path, "b.md", "a.txt", "deep/er/c.TXT", "rows.jsonl", "picture.png")
    selection = select([str(tmp_path)], other_format=None)
    assert [source.document_id for source in selection.sources] == ["a", "b", "deep/er/c", ""]
    assert [source.relative for source in selection.sources] == ["a.txt", "b.md", "deep/er/c.TXT", "rows.jsonl"]
    assert (selection.unread, selection.unread_names) == ({".png": 1}, [f"{tmp_path}/picture.png"])


def test_hidden_files_are_no_documents(tmp_path: Path) -> None:
    """What begins with a dot is left alone, folders too."""
    write(tmp_path, "a.txt", ".hidden.txt", ".git/description.txt")
    assert ids(tmp_path) == ["a"]


def _odd_things(folder: Path, outside: Path) -> None:
    """In the folder: all that is named like a text, and is none of its regular files."""
    (folder / "out.txt").symlink_to(outside / "secret.txt")
    (folder / "up.txt").symlink_to("../outside/secret.txt")
    (folder / "gone.txt").symlink_to(outside / "gone.txt")
    (folder / "device.txt").symlink_to("/dev/zero")
    (folder / "linked").symlink_to(outside, target_is_directory=True)
    os.mkfifo(folder / "pipe.txt")
    os.mkfifo(folder / "pipe.log")
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.md")


def test_a_folder_gives_its_own_regular_files_only(tmp_path: Path) -> None:
    """A link that leads out of it, a pipe, a socket and a device are none: each is named, and none is opened."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    write(folder, "a.txt")
    write(outside, "secret.txt")
    _odd_things(folder, outside)
    selection = select([str(folder)], other_format=None)
    assert [source.document_id for source in selection.sources] == ["a"]
    assert [line.removeprefix(f"{folder}/") for line in selection.skipped] == [
        "device.txt: a link out of the folder",
        "gone.txt: a link out of the folder",
        "linked: a link out of the folder",
        "out.txt: a link out of the folder",
        "pipe.txt: a named pipe",
        "socket.md: a socket",
        "up.txt: a link out of the folder",
    ]
    assert selection.unread == {".log": 1}


def test_a_folder_without_a_text_says_what_else_is_there(tmp_path: Path) -> None:
    """Else nobody would know why the text that they see is none."""
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(WrongUsage, match=r"no file of a known kind in this folder .*; .*pipe\.txt: a named pipe"):
        select([str(tmp_path)], other_format=None)


def test_a_link_within_the_folder_is_read(tmp_path: Path) -> None:
    """So are the files of a mounted ConfigMap, and a file that is there twice is one document."""
    write(tmp_path, "..2026/a.txt", "b.txt")
    (tmp_path / "..data").symlink_to("..2026", target_is_directory=True)
    (tmp_path / "a.txt").symlink_to("..data/a.txt")
    (tmp_path / "c.txt").symlink_to("b.txt")
    (tmp_path / "folder").symlink_to(".", target_is_directory=True)
    selection = select([str(tmp_path)], other_format=None)
    assert [source.document_id for source in selection.sources] == ["a", "b"]
    assert selection.skipped == [f"{tmp_path}/folder: a link to a folder"]


def test_a_link_that_leads_nowhere_is_told_when_it_is_read(tmp_path: Path) -> None:
    """It may be a document that is missing. One that leads to itself is none."""
    write(tmp_path, "a.txt")
    (tmp_path / "gone.txt").symlink_to("missing.txt")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    selection = select([str(tmp_path)], other_format=None)
    rows = [row for source in selection.sources for row in read(source, ReadOptions())]
    problems = [(row.place.file, row.problem) for row in rows if isinstance(row, BadRow)]
    assert problems == [
        (f"{tmp_path}/gone.txt", "cannot be read: No such file or directory"),
        (f"{tmp_path}/loop.txt", "cannot be read: Too many levels of symbolic links"),
    ]


def test_a_file_that_becomes_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    """Between the look at the folder and the reading anything may happen to it."""
    write(tmp_path, "a.txt")
    (source,) = select([str(tmp_path)], other_format=None).sources
    (tmp_path / "a.txt").unlink()
    os.mkfifo(tmp_path / "a.txt")
    (row,) = read(source, ReadOptions())
    assert isinstance(row, BadRow)
    assert row.problem == "cannot be read: it is no regular file any more"


def test_a_folder_that_is_a_link_is_meant(tmp_path: Path) -> None:
    """A person has named it."""
    write(tmp_path / "real", "a.txt")
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    assert ids(tmp_path / "link") == ["a"]


@pytest.mark.parametrize("path", ["x" * 5_000 + ".txt", "a.txt/b.txt"])
def test_a_path_that_can_be_none_is_wrong_usage(tmp_path: Path, path: str) -> None:
    """Whatever the system says of it."""
    write(tmp_path, "a.txt")
    with pytest.raises(WrongUsage, match=r"b\.txt|xxx"):
        select([str(tmp_path / path)], other_format=None)


def test_ids_that_would_be_equal_keep_the_suffix(tmp_path: Path) -> None:
    """Only the texts that would share an id keep their suffix."""
    write(tmp_path, "a.txt", "a.md", "b.txt")
    assert ids(tmp_path) == ["a.md", "a.txt", "b"]


def test_texts_of_one_name_in_two_folders_have_different_ids(tmp_path: Path) -> None:
    """Two folders with the same file names send two documents, not one twice."""
    write(tmp_path, "en/a.txt", "vi/a.txt")
    assert len(set(ids(tmp_path / "en", tmp_path / "vi"))) == 2


def test_a_file_named_twice_is_sent_once(tmp_path: Path) -> None:
    """A file that is named and is in a folder that is named, too, is one document."""
    write(tmp_path, "a.txt", "b.txt")
    assert ids(tmp_path / "b.txt", tmp_path) == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "form"),
    [("x.jsonl", Format.JSONL), ("x.NDJSON", Format.JSONL), ("x.csv", Format.CSV), ("x.md", Format.TEXT)],
)
def test_the_suffix_tells_the_format(tmp_path: Path, name: str, form: Format) -> None:
    """A known suffix decides, even against --format."""
    write(tmp_path, name)
    (source,) = select([str(tmp_path / name)], other_format=Format.TEXT).sources
    assert source.format is form


def test_format_is_for_stdin_and_unknown_suffixes(tmp_path: Path) -> None:
    """Standard input is JSON lines unless told otherwise. A file with another suffix must be told."""
    write(tmp_path, "rows.dat")
    assert select(["-"], other_format=None).sources[0].format is Format.JSONL
    stdin, rows = select(["-", str(tmp_path / "rows.dat")], other_format=Format.CSV).sources
    assert (stdin.format, rows.format, stdin.path) == (Format.CSV, Format.CSV, None)


@pytest.mark.parametrize("name", ["missing.txt", "empty", "rows.dat"])
def test_what_cannot_be_read_is_wrong_usage(tmp_path: Path, name: str) -> None:
    """A missing path, a folder without texts and an unknown suffix are refused, each by name."""
    (tmp_path / "empty").mkdir()
    write(tmp_path, "rows.dat")
    with pytest.raises(WrongUsage, match=name):
        select([str(tmp_path / name)], other_format=None)


def test_total_bytes_are_known_for_files_only(tmp_path: Path) -> None:
    """The progress bar has an end for files, and none for standard input."""
    write(tmp_path, "a.txt", "b.txt")
    assert select([str(tmp_path)], other_format=None).total_bytes == 2 * len("text")
    assert select([str(tmp_path), "-"], other_format=None).total_bytes is None


def test_a_file_of_a_known_kind_is_named_where_its_suffix_is_not(tmp_path: Path) -> None:
    """To be told which format it has would be of no use to it. A list in a .json needs no telling."""
    (tmp_path / "a.lz4").write_bytes(b"\x04\x22\x4d\x18 and so on\xff")
    with pytest.raises(WrongUsage, match=r"a\.lz4: it is compressed with lz4: unpack it first"):
        select([str(tmp_path / "a.lz4")], other_format=None)
    (tmp_path / "b.json").write_bytes(b"[]")
    for told, form in ((None, Format.JSON), (Format.JSONL, Format.JSONL)):
        (source,) = select([str(tmp_path / "b.json")], other_format=told).sources
        assert source.format is form


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y"]), st.sampled_from(["", "s/", "s.txt/"]), st.sampled_from(["a", "a.txt", "b"])
        )
    ),
    st.sampled_from([".txt", ".md", ".TXT"]),
)
def test_no_two_texts_share_an_id(names: list[tuple[str, str, str]], suffix: str) -> None:
    """Whatever the folders hold, every text has an id of its own."""
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), "x/z.md", "y/z.md", *(f"{top}/{middle}{name}{suffix}" for top, middle, name in names))
        found = ids(Path(root, "x"), Path(root, "y"))
    assert len(found) == len(set(found))
