"""What `docsluice schema` prints fits what crosses the topics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from docsluice.cli.program import main
from docsluice.messages import ERROR_HEADER_PREFIX, DocumentEvent
from docsluice_consumer.dead_letters import record, truncation
from docsluice_consumer.message_schemas import asyncapi, dead_letter_schema, event_schema, result_schema
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from tests.fakes.outcomes import result

GOLDEN = Path(__file__).parent / "golden"
SCORE = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
FILE = PipelineFile.model_validate(
    {
        "name": "all kinds",
        "tasks": [
            {"name": "summary", "prompt": "Sum up.", "output": {"type": "text", "sentences": 2, "max_characters": 99}},
            {"name": "category", "prompt": "Choose.", "output": {"type": "choice", "labels": ["a", "b"]}},
            {
                "name": "keywords",
                "prompt": "List.",
                "output": {"type": "list", "items": 3, "at_least": 2, "candidates": 5},
            },
            {"name": "score", "prompt": "Score.", "output": {"type": "json", "schema": SCORE}},
        ],
    }
)
OUTPUTS = {"summary": "One. Two.", "category": "b", "keywords": ["x", "y"], "score": {"score": 3}}
MAPPED = PipelineFile.model_validate(
    {"name": "tickets", "input": {"document_id": "id"}, "tasks": [FILE.tasks[1].model_dump()]}
)
STRICT = PipelineFile.model_validate(
    {"name": "strict", "input": {"strict": True}, "tasks": [FILE.tasks[1].model_dump()]}
)


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    Draft202012Validator.check_schema(schema)
    checker = Draft202012Validator(schema, format_checker=FormatChecker())
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in checker.iter_errors(value)]


def published(**changed: Any) -> Any:
    return json.loads(result(1, outputs=OUTPUTS, **changed).model_dump_json())


def test_a_result_fits_its_schema() -> None:
    """With an output of each kind, and as its tasks may answer it."""
    assert problems(result_schema(FILE), published()) == []


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ("summary", ["One."]),
        ("category", "c"),
        ("keywords", ["x"]),
        ("keywords", ["x"] * 4),
        ("score", {}),
        ("other", ""),
    ],
)
def test_an_output_that_no_task_gives_does_not_fit(output: str, value: Any) -> None:
    """The outputs are those of the pipeline's tasks, and no others."""
    changed = published()
    changed["outputs"][output] = value
    assert problems(result_schema(FILE), changed)


def test_every_field_that_is_published_is_in_the_schema() -> None:
    """A new field of a result is seen there, too. What is required is always written."""
    schema, written = result_schema(FILE), published()
    assert written.keys() | {"usage_by_task"} == schema["properties"].keys()  # which is there in fanout only
    assert written["usage"].keys() <= schema["properties"]["usage"]["properties"].keys()
    golden = json.loads((GOLDEN / "result.v1.json").read_text(encoding="utf-8"))
    without_outputs = {**schema, "properties": {**schema["properties"], "outputs": {}}}
    assert problems(without_outputs, golden) == []


@pytest.mark.parametrize("changed", [{"cost_usd": "1e-5"}, {"cost_usd": 0.1}, {"finished_at": 1}, {"attempts": "1"}])
def test_a_value_of_another_form_does_not_fit(changed: dict[str, Any]) -> None:
    """Money is a decimal string, and so on."""
    assert problems(result_schema(FILE), published() | changed)


def test_an_event_fits_its_schema_with_fields_that_we_do_not_know_unless_it_is_strict() -> None:
    """The golden event has every field. `input.strict` allows no others."""
    golden = json.loads((GOLDEN / "event.v1.json").read_text(encoding="utf-8"))
    assert problems(event_schema(FILE), golden) == problems(event_schema(STRICT), golden) == []
    assert problems(event_schema(FILE), golden | {"new": 1}) == []
    assert problems(event_schema(STRICT), golden | {"new": 1})
    for name in ("document_id", "text"):
        assert problems(event_schema(FILE), {key: value for key, value in golden.items() if key != name})


def test_a_topic_that_is_mapped_has_a_form_of_its_own() -> None:
    """Its producers do not know ours, so any value fits."""
    assert problems(event_schema(MAPPED), {"id": 17}) == []
    assert "tickets" in event_schema(MAPPED)["description"]


def test_the_headers_of_a_dead_letter_fit_their_schema() -> None:
    """Those of the golden file, and of a record that was cut. A header that the code adds is named in the schema."""
    golden = dict(json.loads((GOLDEN / "dead-letter-headers.v1.json").read_text(encoding="utf-8")))
    schema = dead_letter_schema()
    assert problems(schema, golden) == []
    ours = {name for name in golden if name.startswith(ERROR_HEADER_PREFIX)}
    assert ours <= schema["properties"].keys()
    assert problems(schema, golden | {f"{ERROR_HEADER_PREFIX}reason": "because"})
    written = f"{Path(record.__file__).read_text()}{Path(truncation.__file__).read_text()}"
    for name in schema["properties"]:
        assert f'"{name.removeprefix(ERROR_HEADER_PREFIX)}' in written or "docsluice" not in name, name


def test_the_asyncapi_document_is_whole() -> None:
    """Each reference leads somewhere within it, and each payload is a schema that needs nothing around it."""
    document = asyncapi(
        FILE, servers="a:1, b:2", group_id="g", input_topic="in", result_topic="out", dead_letter_topic="dlq"
    )
    for reference in references(document):
        part: Any = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    messages = document["components"]["messages"]
    assert problems(messages["DocumentResult"]["payload"], published()) == []
    assert [one["address"] for one in document["channels"].values()] == ["in", "out", "dlq"]
    assert [one["host"] for one in document["servers"].values()] == ["a:1", "b:2"]
    assert "$defs" not in json.dumps(document)


def test_the_topics_that_results_are_routed_to_are_in_the_asyncapi_document() -> None:
    """They carry results, too."""
    output = {"route": {"category": {"a": "alerts", "b": "out"}}}
    file = PipelineFile.model_validate({"name": "r", "output": output, "tasks": [FILE.tasks[1].model_dump()]})
    document = asyncapi(
        file, servers="a:1", group_id="g", input_topic="in", result_topic="out", dead_letter_topic="dlq"
    )
    assert [one["address"] for one in document["channels"].values()] == ["in", "out", "dlq", "alerts"]
    assert document["operations"]["publishResults1"]["channel"] == {"$ref": "#/channels/results1"}


def references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for one in part:
            yield from references(one)
    elif isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
        for one in part.values():
            yield from references(one)


@pytest.mark.parametrize("what", ["event", "result", "dead-letter", "asyncapi"])
def test_the_command_prints_json_and_needs_neither_key_nor_broker(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output goes into a file as it is."""
    pipeline = tmp_path / "pipeline.json"
    pipeline.write_text(FILE.model_dump_json(by_alias=True, exclude_none=True), encoding="utf-8")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["schema", what, "--pipeline", str(pipeline)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)


def test_what_the_schema_of_an_event_requires_is_what_is_required() -> None:
    """As the service reads it."""
    required = {name for name, field in DocumentEvent.model_fields.items() if field.is_required()}
    schema = event_schema(FILE)
    assert {*schema["required"], "text"} == required
    assert (
        problems(schema, {"document_id": "d", "text": "t"}) == problems(schema, {"document_id": "d", "uri": "u"}) == []
    )
    assert problems(schema, {"document_id": "d"})
