"""Outcomes as a Parquet file: a typed column for each field, output and name in the metadata."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.outcomes.outcome import Outcome
from docsluice_producer.errors import NotWritten, WrongUsage
from docsluice_producer.following.columns import flat
from docsluice_producer.following.parquet_table import ParquetTable
from docsluice_producer.following.tables import open_table
from tests.fakes.outcomes import dead_letter, result_outcome

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())


def written(path: Path, *outcomes: Outcome) -> Any:
    """The table that was written of these outcomes."""
    with closing(open_table(path)) as table:
        for one in outcomes:
            table.write(one)
    return pq.read_table(path)


def test_columns_have_the_types_of_their_values(tmp_path: Path) -> None:
    """Times, money and lists are read as such. What an outcome does not have is empty."""
    table = written(
        tmp_path / "out.parquet",
        result_outcome(1, metadata={"lang": "vi", "pages": 3}),
        dead_letter(2),
        result_outcome(3, outputs={"score": 1}, metadata={"pages": 2.5}),
        result_outcome(4, outputs={"score": {"a": [1]}}),
    )
    types = {one.name: str(one.type) for one in table.schema}
    assert types["finished_at"] == "timestamp[us, tz=UTC]"
    assert (types["cost_usd"], types["input_tokens"], types["keywords"]) == ("double", "int64", "list<element: string>")
    assert (types["metadata.lang"], types["metadata.pages"], types["score"]) == ("string", "double", "string")
    rows = table.to_pylist()
    assert [row["kind"] for row in rows] == ["result", "dead_letter", "result", "result"]
    assert (rows[0]["keywords"], rows[1]["keywords"], rows[1]["reason"]) == (["a", "b"], None, "too_large")
    assert rows[0]["finished_at"] == datetime(2026, 1, 1, 12, 1, tzinfo=UTC)
    assert (rows[0]["metadata.pages"], rows[2]["metadata.pages"], rows[2]["metadata.lang"]) == (3.0, 2.5, None)
    assert [row["score"] for row in rows] == [None, None, "1", '{"a": [1]}']
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_an_empty_table_has_the_columns_of_every_table(tmp_path: Path) -> None:
    """With their types, so that a program that reads it daily also reads it on a day without documents."""
    empty = written(tmp_path / "empty.parquet").schema
    full = written(tmp_path / "full.parquet", result_outcome(1, outputs={}, metadata={}), dead_letter(2)).schema
    assert empty.field("cost_usd").type == "double"
    assert [one for one in full if not one.name.startswith("metadata.")] == list(empty)


@given(outputs=st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), min_size=1, max_size=6))
def test_any_mixture_of_values_makes_a_table(
    outputs: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Foreign topics hold anything, halves of surrogate pairs too. Each outcome is a row."""
    made = [result_outcome(1) for _ in outputs]
    for one, values in zip(made, outputs, strict=True):
        object.__setattr__(one, "outputs", values)
    rows = written(tmp_path_factory.mktemp("table") / "out.parquet", *made).to_pylist()
    assert len(rows) == len(outputs)
    for row, one in zip(rows, made, strict=True):
        assert all((row[name] is None) == (value is None) for name, value in flat(one).items() if name in "abc")


def test_a_program_that_is_killed_leaves_the_outcomes_behind(tmp_path: Path) -> None:
    """Before the end they are lines of JSON beside the table's place, each flushed as it comes."""
    table = open_table(tmp_path / "out.parquet")
    table.write(result_outcome(1))
    table.write(dead_letter(2))
    (part,) = tmp_path.glob(".out.parquet.*.part.jsonl")
    assert len(part.read_text(encoding="utf-8").splitlines()) == 2
    table.close()
    assert not part.exists()


def test_a_table_that_cannot_be_written_says_where_the_outcomes_are(tmp_path: Path) -> None:
    """Nothing that was read is lost with it."""
    table = open_table(tmp_path / "out.parquet")
    table.write(result_outcome(1))
    (tmp_path / "out.parquet").mkdir()
    with pytest.raises(NotWritten, match=r"the outcomes are in .*\.part\.jsonl"):
        table.close()
    (part,) = tmp_path.glob(".out.parquet.*.part.jsonl")
    assert part.read_text(encoding="utf-8").count("\n") == 1


def test_a_full_disk_says_where_the_outcomes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file could not take is met once more when it is closed."""
    table = open_table(tmp_path / "out.parquet")
    table.write(result_outcome(1))

    assert isinstance(table, ParquetTable)
    close = table._file.close

    def full() -> None:
        close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table._file, "close", full)
    with pytest.raises(NotWritten, match=r"No space left on device; the outcomes are in .*\.part\.jsonl"):
        table.close()


def test_without_pyarrow_the_command_that_installs_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra. Nothing is written before."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(WrongUsage, match=r"pip install 'docsluice\[files\]'"):
        open_table(tmp_path / "out.parquet")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_place_for_a_table(tmp_path: Path) -> None:
    """It is told before anything is read."""
    (tmp_path / "out.parquet").mkdir()
    with pytest.raises(WrongUsage, match="it is a folder"):
        open_table(tmp_path / "out.parquet")
    with pytest.raises(WrongUsage, match="--to"):
        open_table(tmp_path / "missing" / "out.parquet")
