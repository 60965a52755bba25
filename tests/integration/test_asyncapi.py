"""The AsyncAPI project's own parser reads what `docsluice schema asyncapi` prints."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from docsluice_consumer.message_schemas import asyncapi
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from tests.fakes.samples import pipeline_file

PARSER = "@asyncapi/parser@3.4.0"
PROGRAM = """
const { Parser } = require("@asyncapi/parser");
require("readline").createInterface({ input: process.stdin }).on("line", async (text) => {
  const { document, diagnostics } = await new Parser().parse(text);
  const operations = document ? document.operations().all().map((one) => one.id()) : [];
  console.log(JSON.stringify({ operations, problems: diagnostics.filter((one) => one.severity < 2) }));
});
"""
"""A document a line. The parser takes two seconds to be there, and none to parse."""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """What the parser says of a document."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm, with which the AsyncAPI project's parser comes")
    folder = tmp_path_factory.mktemp("asyncapi")
    (folder / "parse.js").write_text(PROGRAM, encoding="utf-8")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", PARSER]
    if subprocess.run(install, cwd=folder, check=False, capture_output=True).returncode:
        pytest.skip("the AsyncAPI project's parser cannot be downloaded here")

    with subprocess.Popen(
        ["node", "parse.js"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        documents, answers = node.stdin, node.stdout

        def run(document: dict[str, Any]) -> dict[str, Any]:
            print(json.dumps(document), file=documents, flush=True)
            found: dict[str, Any] = json.loads(answers.readline())
            return found

        yield run


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
