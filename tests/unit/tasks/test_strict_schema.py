"""A user's schema, made fit for strict mode and back."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docsluice_consumer.tasks.outputs import JsonOutput
from docsluice_consumer.tasks.strict_schema import CannotBeStrict, OptionalNulls, Schema, strict

STRING = {"type": "string"}


def _object(properties: Schema, *required: str, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _closed(properties: Schema) -> Schema:
    return _object(properties, *properties, additionalProperties=False)


@pytest.mark.parametrize(
    ("schema", "fit"),
    [
        (STRING | {"maxLength": 5}, STRING | {"maxLength": 5}),
        (_object({"a": STRING}, "a"), _closed({"a": STRING})),
        (_object({"a": STRING}), _closed({"a": {"type": ["string", "null"]}})),
        ({"type": "object", "properties": {"a": STRING}}, _closed({"a": {"type": ["string", "null"]}})),
        (_object({"a": {"type": ["string", "null"]}}), _closed({"a": {"type": ["string", "null"]}})),
        (
            _object({"a": STRING | {"enum": ["x", "y"]}}),
            _closed({"a": {"anyOf": [STRING | {"enum": ["x", "y"]}, {"type": "null"}]}}),
        ),
        (_object({"a": {"const": 1}}), _closed({"a": {"anyOf": [{"const": 1, "type": "integer"}, {"type": "null"}]}})),
        ({"enum": ["x", None]}, {"enum": ["x", None], "type": ["null", "string"]}),
        (_object({"a": {"enum": ["x", None]}}), _closed({"a": {"enum": ["x", None], "type": ["null", "string"]}})),
        (
            _object({"a": {"anyOf": [STRING, {"type": "integer"}]}}),
            _closed({"a": {"anyOf": [STRING, {"type": "integer"}, {"type": "null"}]}}),
        ),
        (
            {"type": "array", "items": {"type": "array", "items": _object({"a": STRING})}},
            {"type": "array", "items": {"type": "array", "items": _closed({"a": {"type": ["string", "null"]}})}},
        ),
        (
            _object({"a": _object({"b": STRING}, "b") | {"type": ["object", "null"]}}, "a"),
            _closed({"a": _closed({"b": STRING}) | {"type": ["object", "null"]}}),
        ),
        (_object({}, additionalProperties=False), _closed({})),
        (STRING | {"default": "x", "description": "A name."}, STRING | {"description": "A name."}),
    ],
)
def test_a_schema_is_made_fit(schema: Schema, fit: Schema) -> None:
    """Closed, all required, optional ones nullable. At any depth. What is fit already stays as it is."""
    assert strict(schema) == fit
    assert strict(fit) == fit


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"description": "anything"},
        {"type": "object"},
        {"type": "array"},
        {"type": "array", "items": True},
        _object({"a": STRING}, additionalProperties=True),
        _object({"a": STRING}, additionalProperties=STRING),
        _object({"a": STRING}, "b"),
        _object({"a": {}}),
        _object({"a": STRING}, patternProperties={"^x": STRING}),
        _object({"a": STRING}, minProperties=1),
        {"properties": {"a": STRING}},
        {"anyOf": [STRING, {}]},
        {"anyOf": [{"required": ["a"]}], "type": "object", "properties": {"a": STRING}},
        {"oneOf": [STRING]},
        {"allOf": [STRING]},
        {"not": STRING},
        {"type": "string", "properties": {"a": STRING}},
        {"type": "string", "items": STRING},
        {"enum": [{"a": 1}]},
        {"enum": [[1]]},
        {"type": "array", "prefixItems": [STRING], "items": STRING},
    ],
)
def test_what_cannot_be_made_fit_is_told(schema: Any) -> None:
    """It would lose answers that the user's schema allows, or strict mode has no words for it."""
    with pytest.raises(CannotBeStrict):
        strict(schema)
    with pytest.raises(CannotBeStrict):
        strict(_object({"deep": {"type": "array", "items": schema}}))


@pytest.mark.parametrize(
    ("schema", "value", "left"),
    [
        (_object({"a": STRING}), {"a": None}, {}),
        (_object({"a": STRING}, "a"), {"a": None}, {"a": None}),
        (_object({"a": {"type": ["string", "null"]}}), {"a": None}, {"a": None}),
        (_object({"a": STRING}), {"b": None}, {"b": None}),
        ({"type": "array", "items": _object({"a": STRING})}, [{"a": None}, {"a": "x"}], [{}, {"a": "x"}]),
        (_object({"o": _object({"a": STRING})}), {"o": {"a": None}}, {"o": {}}),
        ({"anyOf": [_object({"a": STRING}, "a"), _object({"b": STRING}, "c")]}, {"b": None, "c": 1}, {"c": 1}),
        (_object({"a": True}), {"a": None}, {"a": None}),
        (STRING, None, None),
    ],
)
def test_nulls_of_optional_properties_are_left_out(schema: Schema, value: Any, left: Any) -> None:
    """Only theirs, and only where the schema does not allow them."""
    assert OptionalNulls(schema).left_out(value) == left


_LEAVES: st.SearchStrategy[Schema] = st.sampled_from(
    [
        STRING,
        {"type": "integer", "minimum": 0},
        {"type": "boolean"},
        {"type": ["string", "null"]},
        {"type": "null"},
        {"type": "string", "enum": ["x", "y"]},
        {"enum": ["x", 1, None]},
        {"const": "x"},
    ]
)


@st.composite
def _objects(draw: st.DrawFn, parts: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(st.sampled_from("abcd"), parts, min_size=1, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    closed = draw(st.sampled_from([{}, {"additionalProperties": False}]))
    return {"type": "object", "properties": properties, "required": required, **closed}


SCHEMAS = st.recursive(
    _LEAVES,
    lambda parts: (
        _objects(parts)
        | parts.map(lambda part: {"type": "array", "items": part})
        | st.lists(parts, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
    ),
    max_leaves=8,
)


def _drawn(draw: st.DrawFn, schema: Schema) -> tuple[Any, Any]:
    """A value that the schema allows, and as a model in strict mode gives it: with null for what it leaves out."""
    if "anyOf" in schema:
        return _drawn(draw, draw(st.sampled_from(schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        value = draw(st.sampled_from(schema["enum"])) if "enum" in schema else schema["const"]
        return value, value
    kind = schema["type"] if isinstance(schema["type"], str) else draw(st.sampled_from(schema["type"]))
    match kind:
        case "object":
            parts = {name: _drawn(draw, part) for name, part in schema["properties"].items()}
            said = {name for name in parts if name in schema["required"] or draw(st.booleans())}
            value = {name: value for name, (value, _) in parts.items() if name in said}
            return value, {name: answer if name in said else None for name, (_, answer) in parts.items()}
        case "array":
            items = [_drawn(draw, schema["items"]) for _ in range(draw(st.integers(0, 2)))]
            return [value for value, _ in items], [answer for _, answer in items]
    plain = {"integer": st.integers(0, 5), "boolean": st.booleans(), "null": st.none(), "string": st.text(max_size=3)}
    value = draw(plain[kind])
    return value, value


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Schema, Any, Any]:
    schema = draw(SCHEMAS)
    return schema, *_drawn(draw, schema)


def _without_any_null(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_any_null(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_any_null(item) for name, item in value.items() if item is not None}
    return value


@given(case=_cases())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_answer_that_the_user_allows_can_be_given_and_comes_back(case: tuple[Schema, Any, Any]) -> None:
    """In strict mode with null for what is left out, read by the user's own schema."""
    schema, value, answer = case
    fit = strict(schema)
    jsonschema.Draft202012Validator.check_schema(fit)
    jsonschema.validate(answer, fit)
    read = JsonOutput(type="json", schema=schema).read(answer)
    jsonschema.validate(read, schema)
    assert _without_any_null(read) == _without_any_null(value)


@given(schema=SCHEMAS)
def test_strict_mode_has_all_that_it_wants(schema: Schema) -> None:
    """Every object is closed and requires all that it names, and every part has a type."""
    waiting: list[Any] = [strict(schema)]
    while waiting:
        part = waiting.pop()
        assert "anyOf" in part or "type" in part
        if "properties" in part:
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        waiting += [*part.get("anyOf", ()), *part.get("properties", {}).values()]
        waiting += [part["items"]] if "items" in part else []
