"""A user's JSON schema in the form that strict structured outputs take, and the way back. Pure.

Strict mode wants a type everywhere, `additionalProperties: false` on every object and every property required. So an
optional property may be null instead, and `OptionalNulls` leaves such a null out again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from docsluice_consumer.tasks.answer_schema import AnswerSchema

Schema: TypeAlias = dict[str, Any]

_NOT_IN_STRICT_MODE = frozenset(
    (
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies"),
        *("patternProperties", "propertyNames", "unevaluatedProperties", "minProperties", "maxProperties"),
        *("prefixItems", "contains", "unevaluatedItems", "$ref", "$dynamicRef", "$defs", "definitions"),
    )
)
"""Keywords about objects and arrays that strict mode cannot express."""
_REMARKS = frozenset({"default", "examples", "$schema", "$id", "$comment"})
"""Remarks, which some servers refuse."""
_OF_AN_OBJECT = frozenset({"properties", "required", "additionalProperties"})
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


class CannotBeStrict(ValueError):
    """The schema allows answers that strict mode cannot give."""


def strict(schema: Any) -> Schema:
    """Change a schema for strict mode: it allows the same answers, with null for what they leave out.

    Raises:
        CannotBeStrict: it would lose answers, or strict mode cannot express it.
    """
    if not isinstance(schema, dict):
        raise CannotBeStrict("a schema that is true or false has no type")
    if unfit := _NOT_IN_STRICT_MODE & schema.keys():
        raise CannotBeStrict(f"strict mode has no {', '.join(sorted(unfit))}")
    fit = {name: part for name, part in schema.items() if name not in _REMARKS}
    if "anyOf" in schema:
        if schema.keys() & (_OF_AN_OBJECT | {"type", "items", "enum", "const"}):
            raise CannotBeStrict("anyOf beside other constraints")
        return fit | {"anyOf": [strict(branch) for branch in schema["anyOf"]]}
    types = _types(schema)
    fit["type"] = schema.get("type", types[0] if len(types) == 1 else types)
    if "object" in types:
        fit |= _strict_object(schema)
    elif _OF_AN_OBJECT & schema.keys():
        raise CannotBeStrict("properties of what is no object")
    if "array" in types:
        fit["items"] = strict(schema.get("items"))
    elif "items" in schema:
        raise CannotBeStrict("items of what is no array")
    return fit


class OptionalNulls:
    """Removes the nulls of optional properties from a value, at any depth."""

    def __init__(self, schema: Any) -> None:
        fields: Schema = schema if isinstance(schema, dict) else {}
        properties, required = fields.get("properties", {}), fields.get("required", ())
        self._branches = [(OptionalNulls(branch), _compiled(branch)) for branch in fields.get("anyOf", ())]
        self._items = OptionalNulls(fields["items"]) if "items" in fields else None
        self._properties = {name: OptionalNulls(part) for name, part in properties.items()}
        self._never_null = frozenset(
            name for name, part in properties.items() if name not in required and not _is_valid(None, part)
        )

    def left_out(self, value: Any) -> Any:
        """Return the value without them. It may be nested up to `MOST_LEVELS`."""
        for branch, schema in self._branches:
            cleaned = branch.left_out(value)
            if schema.is_valid(cleaned):
                value = cleaned
                break
        if isinstance(value, list) and self._items is not None:
            return [self._items.left_out(item) for item in value]
        if isinstance(value, dict) and self._properties:
            return {
                name: self._properties[name].left_out(item) if name in self._properties else item
                for name, item in value.items()
                if item is not None or name not in self._never_null
            }
        return value


def _types(schema: Schema) -> list[str]:
    """The types that a schema names, or that its values have."""
    named = schema.get("type")
    if named is not None:
        return [named] if isinstance(named, str) else list(named)
    values = schema["enum"] if "enum" in schema else [schema["const"]] if "const" in schema else []
    types = {_JSON_TYPES.get(type(value)) for value in values}
    if not types or None in types:
        raise CannotBeStrict("a part has no type")
    return sorted(kind for kind in types if kind is not None)


def _strict_object(schema: Schema) -> Schema:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not properties and schema.get("additionalProperties") is not False:
        raise CannotBeStrict("an object that names no property may hold any")
    if schema.get("additionalProperties", False) is not False:
        raise CannotBeStrict("additionalProperties allows more than is named")
    if not set(required) <= properties.keys():
        raise CannotBeStrict("a required property is not described")
    return {
        "properties": {
            name: strict(part) if name in required else _nullable(strict(part)) for name, part in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


def _nullable(schema: Schema) -> Schema:
    """Allow null, too, in the plainest way."""
    if _is_valid(None, schema):
        return schema
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    if schema.keys() & {"enum", "const"}:
        return {"anyOf": [schema, {"type": "null"}]}
    types = schema["type"]
    return schema | {"type": [*([types] if isinstance(types, str) else types), "null"]}


def _is_valid(value: Any, schema: Any) -> bool:
    return _compiled(schema).is_valid(value)


def _compiled(schema: Any) -> AnswerSchema:
    from docsluice_consumer.tasks.answer_schema import AnswerSchema  # noqa: PLC0415 - 3 MiB, for tasks of type json only

    return AnswerSchema(schema)
