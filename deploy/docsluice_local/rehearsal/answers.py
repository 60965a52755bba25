"""An answer that meets a JSON schema, made of the document's own words. Pure. The same seed gives the same answer."""

import json
import math
import random
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]
_SchemaOrBool: TypeAlias = Schema | bool

_READ_CHARACTERS = 1_500
_SENTENCE_WORDS = 12
_ITEM_WORDS = 3
_LIST_ITEMS = 3
_TRIES = 10
_TRIES_IN_WORDS = 2
_DEPTH = 6  # below it only required parts are filled in, so that a recursive schema ends


def answer(schema: Schema, *, text: str, seed: int) -> Any:
    """A value that meets `schema`.

    `enum`, `const`, `anyOf`, `oneOf`, `allOf`, local `$ref`, nesting and the bounds on lengths, items and numbers are
    followed. `pattern`, `format` and `multipleOf` are not. Items of an array differ from one another where they can.
    """
    return _Author(root=schema, text=text, seed=seed).value(schema, depth=0)


def sentence(*, text: str, seed: int) -> str:
    """A plain answer for a request that asks for no schema."""
    return str(_Author(root={}, text=text, seed=seed).value({"type": "string"}, depth=0))


class _Author:
    def __init__(self, *, root: Schema, text: str, seed: int) -> None:
        self._root = root
        self._random = random.Random(seed)  # noqa: S311 - no secret depends on it
        words = dict.fromkeys(re.findall(r"\w+", text[:_READ_CHARACTERS]))
        self._words = self._endless(list(words) or ["nothing"])

    def value(self, schema: _SchemaOrBool, *, depth: int) -> Any:
        """A value for a schema, at any depth."""
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in {"integer", "number"}:
            return self._number(schema, kind)
        if kind == "boolean":
            return self._random.random() < 0.5  # noqa: PLR2004
        return None if kind == "null" else self._string(schema, _SENTENCE_WORDS)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties", {})
        required = schema.get("required", [])
        wanted = properties if depth < _DEPTH else {name: properties.get(name, {}) for name in required}
        return {name: self.value(each, depth=depth + 1) for name, each in wanted.items()}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, _LIST_ITEMS))
        each = self._resolved(schema.get("items", {"type": "string"}))
        items: list[Any] = []
        taken: set[str] = set()
        for _ in range(min(most, max(least, _LIST_ITEMS)) if depth < _DEPTH else least):
            item = self._unlike(taken, each, depth)
            taken.add(_folded(item))
            items.append(item)
        return items

    def _unlike(self, taken: set[str], schema: Schema, depth: int) -> Any:
        """An item that is not there yet, as far as the schema allows one."""
        item = None
        for attempt in range(_TRIES):
            if _kind(schema) == "string" and not schema.keys() & {"enum", "const"}:
                item = self._string(schema, _ITEM_WORDS if attempt < _TRIES_IN_WORDS else 0)
            else:
                item = self.value(schema, depth=depth + 1)
            if _folded(item) not in taken:
                break
        return item

    def _string(self, schema: Schema, word_count: int) -> str:
        """Some words of the document. With a count of 0, a number instead, for when the words run out."""
        least = schema.get("minLength", 0)
        most = schema.get("maxLength", max(least, 10_000))
        if word_count:
            found = " ".join(next(self._words) for _ in range(word_count))
            while len(found) < least:
                found += f" {next(self._words)}"
        else:
            found = str(self._random.randrange(10 ** max(1, min(most, 6))))
        return str(found[:most].rstrip().ljust(least, "."))

    def _number(self, schema: Schema, kind: str) -> int | float:
        step = 1 if kind == "integer" else 1e-3
        least = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
        most = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
        if least is None:
            least = 0 if most is None else most - 100
        if most is None:
            most = least + 100
        if kind == "integer":
            return self._random.randint(math.ceil(least), max(math.ceil(least), math.floor(most)))
        return min(most, max(least, self._random.uniform(least, most)))

    def _resolved(self, schema: _SchemaOrBool) -> Schema:
        """The schema with `$ref`, `allOf` and alternatives resolved."""
        if isinstance(schema, bool):
            return {"type": "string"}
        if "$ref" in schema:
            target: Any = self._root
            for name in schema["$ref"].removeprefix("#").strip("/").split("/"):
                target = target[name] if name else target
            return self._resolved({**target, **{key: each for key, each in schema.items() if key != "$ref"}})
        for alternatives in ("anyOf", "oneOf"):
            if alternatives in schema:
                chosen = self._resolved(self._random.choice(schema[alternatives]))
                return {**{key: each for key, each in schema.items() if key != alternatives}, **chosen}
        if "allOf" in schema:
            merged = {key: each for key, each in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                merged |= self._resolved(part)
            return merged
        return schema

    def _endless(self, words: list[str]) -> Iterator[str]:
        position = self._random.randrange(len(words))
        while True:
            yield words[position % len(words)]
            position += 1


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _folded(item: Any) -> str:
    """A key that is equal for items that a reader takes for the same: letter case does not count."""
    return (item if isinstance(item, str) else json.dumps(item, sort_keys=True)).casefold()
