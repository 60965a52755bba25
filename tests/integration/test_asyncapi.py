"""The AsyncAPI project's own parser reads what `docsluice schema asyncapi` prints."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from docsluice_consumer.message_schemas import asyncapi
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from tests.fakes.samples import pipeline_file

PARSER = "@asyncapi/parser@3.4.0"
PROGRAM = """
const { Parser } = require("@asyncapi/parser");
const text = require("fs").readFileSync(0, "utf8");
new Parser().parse(text).then(({ document, diagnostics }) => {
  const operations = document ? document.operations().all().map((one) => one.id()) : [];
  console.log(JSON.stringify({ operations, problems: diagnostics.filter((one) => one.severity < 2) }));
});
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the parser says of a document."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm, with which the AsyncAPI project's parser comes")
    folder = tmp_path_factory.mktemp("asyncapi")
    (folder / "parse.js").write_text(PROGRAM, encoding="utf-8")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", PARSER]
    if subprocess.run(install, cwd=folder, check=False, capture_output=True).returncode:
        pytest.skip("the AsyncAPI project's parser cannot be downloaded here")

    def run(document: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            ["node", "parse.js"], cwd=folder, check=True, input=json.dumps(document), capture_output=True, text=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def _document(file: PipelineFile) -> dict[str, Any]:
    return asyncapi(
        file,
        servers="kafka-1:9092,kafka-2:9092",
        group_id="docsluice",
        input_topic="documents",
        result_topic="documents.results",
        dead_letter_topic="documents.dlq",
    )


@pytest.mark.parametrize(
    "output", [{}, {"form": "flat"}, {"form": "merged"}, {"route": {"kind": {"a": "topic.of.a"}}}], ids=str
)
def test_it_is_sound(parsed: Callable[[dict[str, Any]], dict[str, Any]], output: dict[str, Any]) -> None:
    """In each form of results, and with routed ones."""
    task = {"name": "kind", "prompt": "?", "output": {"type": "choice", "labels": ["a", "b"]}}
    found = parsed(_document(pipeline_file(task, output=output)))
    assert found["problems"] == []
    assert len(found["operations"]) == 3 + bool(output.get("route"))


def test_an_unsound_one_is_told(parsed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Or the parser would prove nothing."""
    document = _document(pipeline_file())
    del document["channels"]["documents"]
    assert parsed(document)["problems"] != []
