"""`input:` and `output:` of the pipeline file: what is wrong with them is said at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.tasks.pipeline_file import load_pipeline_file
from tests.fakes.samples import TASKS, pipeline_file
from tests.fakes.tickets import MAPPING
from tests.fakes.yaml_problems import without_place

TWO_BRACES = "two braces that are no placeholder are written as {{ '{{' }}"


def _problems(tmp_path: Path, **fields: Any) -> list[str]:
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump({"name": "sample", "tasks": list(TASKS), **fields}), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline_file(path)
    return [without_place(problem, path) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"docment_id": "id"}, "docment_id: unknown field; did you mean document_id? known are: format, charset, "),
        ({"document_id": "a["}, "document_id: is not JMESPath: it ends too early"),
        ({"document_id": ""}, "document_id: must not be blank"),
        ({"document_id": 7}, "document_id: must be a string; YAML reads it as a number: put it in quotes"),
        ({"text": "{{ subject }"}, f"text: has {{{{ without }}}} behind it; {TWO_BRACES}"),
        ({"text": "{{ upper(a) }}"}, "text: {{ upper(a) }} has the unknown function upper(); known are abs, "),
        ({"text": "$tenant"}, "text: has the unknown name $tenant; known are $headers, $key, $offset, "),
        ({"metadata": {"a": "b", "c": "d e"}}, "metadata.c: is not JMESPath near e"),
        ({"metadata": "customer"}, "metadata: must be a mapping of names to values"),
        ({"metadata": {"": "a"}}, "metadata.: must not be blank"),
        ({"when": "{{ a }}"}, "when: must be one expression, without {{ }}"),
        ({"when": "a = 'b'"}, "when: is not JMESPath"),
        ({"when": True}, "when: must be a string; YAML reads it as true or false"),
        ({"format": "xml"}, "format: must be one of json, text"),
        ({"charset": "utf-17"}, "charset: must be a charset that Python knows, such as utf-16 or windows-1252"),
        ({"charset": "punycode"}, "charset: must be a charset that Python knows"),
        ({"charset": "rot13"}, "charset: must be a charset that Python knows"),
        ({"charset": "utf\0"}, "charset: must be a charset that Python knows"),
        ({"strict": "yes"}, "strict: must be true or false"),
        (
            {"strict": True, "text": "body"},
            "strict: is for values that are events; with document_id, text or metadata leave it out",
        ),
    ],
)
def test_what_is_wrong_names_the_field(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    """And the file, in one line, with what to do."""
    (found,) = _problems(tmp_path, input=fields)
    assert found.startswith(f"input.{problem}")


def test_every_bad_expression_is_told_at_once(tmp_path: Path) -> None:
    """A person mends a file once."""
    assert len(_problems(tmp_path, input={"document_id": "a[", "text": "{{", "metadata": {"a": "$b"}})) == 3


@pytest.mark.parametrize("name", ["ce_id", "CE_x", "content-type", "__docsluice.errors.reason"])
def test_a_header_of_our_own_is_not_carried(tmp_path: Path, name: str) -> None:
    """A reader would find two of them."""
    (found,) = _problems(tmp_path, output={"headers": ["tenant", name]})
    assert found.startswith(f"output.headers.1: must not hold {name}, which docsluice sets itself; input.metadata can")


def test_a_mapping_is_no_part_of_the_version() -> None:
    """It does not change what a text is asked. A new mapping must not make every answer a new one."""
    plain, mapped = pipeline_file(), pipeline_file(input=MAPPING, output={"headers": ["tenant"]})
    versions = {file.version(mode="fanout", default_model="m") for file in (plain, mapped)}
    assert len(versions) == 1


def test_without_a_mapping_a_value_is_the_event() -> None:
    """A condition, a format or a charset alone changes nothing of it."""
    around = {"when": "a", "format": "json", "charset": "utf-16", "strict": True}
    assert not pipeline_file().input.is_mapping
    assert not pipeline_file(input=around).input.is_mapping
    mappings: list[dict[str, Any]] = [{"document_id": "a"}, {"text": "a"}, {"metadata": {}}]
    assert all(pipeline_file(input=fields).input.is_mapping for fields in mappings)
