"""The kinds of answer a task can ask for: each knows its JSON schema, and how to read and check a value of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

import jsonschema
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from consumer.contracts import OutputValue
from consumer.errors import InvalidAnswer

Schema: TypeAlias = dict[str, Any]


class _Output(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextOutput(_Output):
    """Prose. With `sentences`, the model fills an array of exactly so many strings, which are then joined.

    An array is the one way to a sentence count that a JSON schema can enforce.
    """

    type: Literal["text"]
    sentences: int | None = Field(default=None, ge=1, le=50)
    max_characters: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _roomy(self) -> Self:
        if self.max_characters is not None and self.max_characters < 2 * (self.sentences or 1) - 1:
            raise ValueError("max_characters leaves no room for so many sentences")
        return self

    def json_schema(self) -> Schema:
        """Return the schema of one answer."""
        if self.sentences is None:
            return _string(self.max_characters)
        return _array(_string(self.sentence_characters), self.sentences)

    def read(self, value: Any) -> OutputValue:
        """Check and return the text."""
        if self.sentences is None:
            return _text(value, self.max_characters)
        sentences = _items(value, self.sentences, "sentences")
        return " ".join(_text(sentence, self.sentence_characters) for sentence in sentences)

    @property
    def sentence_characters(self) -> int | None:
        """How long one sentence may be, so that all of them, with a blank between them, are no longer than the text."""
        if self.max_characters is None:
            return None
        sentences = self.sentences or 1
        return (self.max_characters - (sentences - 1)) // sentences


class ChoiceOutput(_Output):
    """One of the given labels."""

    type: Literal["choice"]
    labels: list[str] = Field(min_length=2)

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: list[str]) -> list[str]:
        if any(label != label.strip() or not label for label in labels):
            raise ValueError("a label must not be blank, nor begin or end with a space")
        if len({label.casefold() for label in labels}) < len(labels):
            raise ValueError("the labels must differ from one another")
        return labels

    def json_schema(self) -> Schema:
        """Return the schema of one answer."""
        return {"type": "string", "enum": self.labels}

    def read(self, value: Any) -> OutputValue:
        """Return the label as the pipeline spells it, whatever the case of the answer."""
        said = _text(value).casefold()
        for label in self.labels:
            if label.casefold() == said:
                return label
        raise InvalidAnswer(f"must be one of: {', '.join(self.labels)}")


class ListOutput(_Output):
    """Exactly `items` different strings, such as keywords.

    No JSON schema that a model's server enforces can say "different". With `candidates`, so many strings are asked for
    and the first `items` of them that differ are kept: small models like to repeat themselves.
    """

    type: Literal["list"]
    items: int = Field(ge=1, le=100)
    candidates: int | None = Field(default=None, ge=1, le=200)
    max_characters: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.candidates is not None and self.candidates < self.items:
            raise ValueError("candidates must be at least as many as items")
        return self

    def json_schema(self) -> Schema:
        """Return the schema of one answer."""
        return _array(_string(self.max_characters), self.candidates or self.items)

    def read(self, value: Any) -> OutputValue:
        """Check and return the strings."""
        said = _items(value, self.candidates or self.items, "items")
        found = [_text(item, self.max_characters) for item in said if not self._may_be_passed_over(item)]
        distinct: dict[str, str] = {}
        for item in found:
            distinct.setdefault(item.casefold(), item)
        if len(distinct) < self.items:
            raise InvalidAnswer("the items must differ from one another")
        return list(distinct.values())[: self.items]

    def _may_be_passed_over(self, item: Any) -> bool:
        return self.candidates is not None and isinstance(item, str) and not item.strip()


class JsonOutput(_Output):
    """Whatever the given JSON schema (draft 2020-12) allows. As a part of the request's own schema it holds no $ref."""

    type: Literal["json"]
    schema_: Schema = Field(alias="schema")

    @field_validator("schema_")
    @classmethod
    def _valid(cls, schema: Schema) -> Schema:
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(f"not a JSON schema: {error.message}") from error
        if _refers(schema):
            raise ValueError("must hold no $ref; write the part out in its place")
        return schema

    def json_schema(self) -> Schema:
        """Return the schema of one answer."""
        return self.schema_

    def read(self, value: Any) -> OutputValue:
        """Check the value against the schema and return it."""
        problem = next(jsonschema.Draft202012Validator(self.schema_).iter_errors(value), None)
        if problem is not None:
            raise InvalidAnswer(f"{problem.json_path}: {problem.message}")
        return value


Output = Annotated[TextOutput | ChoiceOutput | ListOutput | JsonOutput, Field(discriminator="type")]


def _string(max_characters: int | None) -> Schema:
    return {"type": "string"} | ({"maxLength": max_characters} if max_characters else {})


def _array(items: Schema, count: int) -> Schema:
    return {"type": "array", "items": items, "minItems": count, "maxItems": count}


def _text(value: Any, max_characters: int | None = None) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidAnswer("must be a string that is not blank")
    text = value.strip()
    if max_characters is not None and len(text) > max_characters:
        raise InvalidAnswer(f"must be a string of at most {max_characters} characters")
    return text


def _items(value: Any, count: int, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != count:
        raise InvalidAnswer(f"must be an array of exactly {count} {what}")
    return value


def _refers(schema: Any) -> bool:
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return (isinstance(schema, dict) and not {"$ref", "$dynamicRef"}.isdisjoint(schema)) or any(map(_refers, parts))
