"""How far a sending has come, as it is written down, and whether it still fits the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.documents.rows import Position
from docsluice.documents.sources import select
from docsluice_producer.errors import WrongUsage
from docsluice_producer.sending.places import Files, SentPlace, key_of, place_of


def files(*paths: Path) -> Files:
    return Files(select([str(path) for path in paths], other_format=None).sources)


@given(st.builds(Position, st.integers(min_value=0), st.integers(min_value=0)), st.integers(min_value=0), st.text())
def test_a_place_is_read_as_it_was_written(position: Position, sent: int, fingerprint: str) -> None:
    """Whatever it holds."""
    place = SentPlace(position=position, sent=sent, files=fingerprint)
    assert place_of(place.value()) == place


@pytest.mark.parametrize("value", [None, b"", b"1", b"{}", b"[]", b"\xff", b'{"version": 2, "source": 0, "entry": 1}'])
def test_anything_else_is_no_place(value: bytes | None) -> None:
    """Not even one of a later release."""
    assert place_of(value) is None


def test_a_place_fits_the_files_up_to_it(tmp_path: Path) -> None:
    """Those behind it may change and come. A change up to it, or one file more before it, is told."""
    for name in ("b.txt", "d.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    place = SentPlace(position=Position(0, 1), sent=1, files=files(tmp_path).fingerprint(0))
    (tmp_path / "d.txt").write_text("longer than before", encoding="utf-8")
    (tmp_path / "c.txt").write_text("c", encoding="utf-8")
    files(tmp_path).check(place)
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    with pytest.raises(WrongUsage, match="have changed since"):
        files(tmp_path).check(place)
    (tmp_path / "a.txt").unlink()
    files(tmp_path).check(place)
    os.utime(tmp_path / "b.txt", ns=(1, 1))
    with pytest.raises(WrongUsage, match="have changed since"):
        files(tmp_path).check(place)


def test_a_place_behind_all_files_does_not_fit(tmp_path: Path) -> None:
    """Some are gone."""
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    with pytest.raises(WrongUsage, match="1,204 documents were sent"):
        files(tmp_path).check(SentPlace(position=Position(1, 1), sent=1_204, files="x"))


def test_a_sending_is_known_by_its_real_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From whatever folder. Their order counts."""
    monkeypatch.chdir(tmp_path)
    assert key_of(["a", "b"]) == key_of([f"{tmp_path}/a", "./b"]) != key_of(["b", "a"])
