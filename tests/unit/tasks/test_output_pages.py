"""The pages about `output:` say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from docsluice.messages import DocumentEvent
from docsluice.result_forms import for_connect
from docsluice_consumer.tasks.output_entry import OutputEntry
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from tests.fakes.outcomes import result

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference/pipeline-file.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to/connect-to-a-database.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO, re.DOTALL)


def _column_types() -> dict[str, str]:
    """The fields of a result of the page's pipeline, with the types that Connect gets."""
    (whole,) = _blocks("yaml")
    file = PipelineFile.model_validate(yaml.safe_load(whole))
    assert file.output.format == "connect"
    outputs = {task.name: "x" for task in file.tasks}
    fields = for_connect(result(outputs=outputs), fields=file.output.fields)["schema"]["fields"]
    return {field["field"]: field.get("name", field["type"]).rpartition(".")[2] for field in fields}


def test_every_field_of_output_has_its_row() -> None:
    """And none that does not exist."""
    section = REFERENCE.partition("\n## Output\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(OutputEntry.model_fields)


def test_the_documents_of_the_page_are_events() -> None:
    """They are copied."""
    (lines,) = _blocks("json")
    assert [DocumentEvent.model_validate(json.loads(line)).document_id for line in lines.splitlines()] == [
        "m1",
        "m2",
        "m3",
    ]


def test_the_table_of_the_page_has_columns_of_ours() -> None:
    """Those that the sink is told, each of a type that takes the field."""
    (ddl,) = (sql for sql in _blocks("sql") if sql.startswith("CREATE"))
    columns = dict(re.findall(r"^  (\w+) (\w+)", ddl, re.MULTILINE))
    included = re.findall(r"mails\.results:(\w+)", HOW_TO)
    types = _column_types()
    assert list(columns) == included
    takes = {"numeric": "Decimal", "timestamp": "Timestamp", "text": "string", "jsonb": "string"}
    assert {name: takes[kind] for name, kind in columns.items()} == {name: types[name] for name in columns}


def test_the_columns_of_the_page_have_their_types() -> None:
    """Each field that the table of types names."""
    types = _column_types()
    rows = re.findall(r"^\| (.+?) \| `(numeric|timestamp|bigint)", HOW_TO, re.MULTILINE)
    kinds = {"numeric": "Decimal", "timestamp": "Timestamp", "bigint": "int64"}
    named = {name: kinds[kind] for cell, kind in rows for name in re.findall(r"`(\w+)`", cell)}
    others = {name: kind for name, kind in types.items() if kind != "string" and not name.endswith("_tokens")}
    assert named == others
