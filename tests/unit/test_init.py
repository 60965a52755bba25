"""`docsluice init`: a project that works as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from docsluice.cli.program import main
from docsluice_consumer.bootstrap import reader_of
from docsluice_consumer.kafka.records import Record
from docsluice_consumer.settings import load_settings
from docsluice_consumer.tasks.file_schema import pipeline_file_schema
from docsluice_consumer.tasks.pipeline_file import load_pipeline_file

ROOT = Path(__file__).parents[2]
TEMPLATES = ("tickets", "invoices", "reviews", "articles")
FILES = [*(ROOT / "deploy" / "pipelines").glob("*.yaml"), *(ROOT / "consumer").rglob("templates/[!c]*.yaml")]


@pytest.mark.parametrize("template", TEMPLATES)
def test_its_documents_are_read_by_its_pipeline(template: str, tmp_path: Path) -> None:
    """And at least two of them are documents that are taken."""
    assert main(["init", template, "--into", str(tmp_path / "new")]) == 0
    file = load_pipeline_file(tmp_path / "new" / "pipeline.yaml")
    reader, taken = reader_of(load_settings(), file), 0
    for number, line in enumerate((tmp_path / "new" / "documents.jsonl").read_bytes().splitlines()):
        record = Record(topic="t", partition=0, offset=number, key=None, value=line, headers=[], timestamp_ms=0)
        taken += reader.read(record) is not None
    assert taken >= 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_editors_accept_our_own_files(path: Path) -> None:
    """By the schema that `init` writes beside a pipeline file."""
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), pipeline_file_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"taskes": []},
        {"tasks": []},
        {"tasks": [{"name": "a", "prompt": "p", "output": {"type": "choice", "labels": ["one"]}}]},
        {"tasks": [{"name": "a", "prompt": "p", "output": {"type": "text"}, "model": 7}]},
    ],
)
def test_editors_mark_what_is_refused(change: dict[str, Any]) -> None:
    """A schema that takes everything helps nobody."""
    good = {"name": "n", "tasks": [{"name": "a", "prompt": "p", "output": {"type": "text"}, "model": "m"}]}
    jsonschema.validate(good, pipeline_file_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(good | change, pipeline_file_schema())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even in part."""
    (tmp_path / "compose.yaml").write_text("mine")
    assert main(["init", "--into", str(tmp_path)]) == 2
    assert "compose.yaml is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["compose.yaml"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line."""
    (tmp_path / "file").write_text("")
    assert main(["init", "--into", str(tmp_path / "file" / "new")]) == 2
    assert "cannot be written to" in capsys.readouterr().err
