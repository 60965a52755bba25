"""Kinds of outputs. Each knows its JSON schema, and how to read and check a value."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from docsluice.messages import OutputValue
from docsluice.text.printable import shortened
from docsluice.validation.json_values import NO_JSON
from docsluice_consumer.errors import InvalidAnswer
from docsluice_consumer.tasks.answer_reading import objects_in, parsed
from docsluice_consumer.tasks.strict_schema import OptionalNulls, Schema

if TYPE_CHECKING:
    from docsluice_consumer.tasks.answer_schema import AnswerSchema

_MOST_NAMED = 5
_SHOWN_CHARACTERS = 60
"""A repair names this many repeated items, and this much of each."""


class _Output(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextOutput(_Output):
    """Prose. With `sentences`, the model fills an array of exactly that many strings, which are then joined.

    Only an array lets a JSON schema enforce a sentence count.
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

    def output_schema(self) -> Schema:
        """Return the schema of an output. That of a long document is put together, and may be longer."""
        return {"type": "string"}

    def read(self, value: Any) -> OutputValue:
        """Check and return the text."""
        if self.sentences is None:
            return _text(value, self.max_characters)
        sentences = _items(value, self.sentences, "sentences")
        return " ".join(_text(sentence, self.sentence_characters) for sentence in sentences)

    def may_be(self, output: OutputValue) -> bool:
        """Tell whether an output can come from an answer.

        That of a long document is put together, and may be longer.
        """
        return isinstance(output, str) and bool(output.strip())

    def bare_values(self, said: str) -> list[Any]:
        """Return possible answers if the model left out the object around them. `said` is all it said."""
        value = parsed(said)
        looks_like_json = isinstance(value, str) and value.lstrip()[:1] in {"{", "["}
        return [] if looks_like_json else [value]

    @property
    def sentence_characters(self) -> int | None:
        """The most characters of one sentence, so that all of them, joined with blanks, fit the text."""
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

    def output_schema(self) -> Schema:
        """As `TextOutput.output_schema`."""
        return self.json_schema()

    def read(self, value: Any) -> OutputValue:
        """Return the label as the pipeline spells it, whatever the case of the answer."""
        said = _text(value).casefold()
        for label in self.labels:
            if label.casefold() == said:
                return label
        raise InvalidAnswer(f"must be one of: {', '.join(self.labels)}")

    def may_be(self, output: OutputValue) -> bool:
        """As `TextOutput.may_be`."""
        return isinstance(output, str) and output in self.labels

    def bare_values(self, said: str) -> list[Any]:
        """As `TextOutput.bare_values`. A label without quotes is the label, too."""
        return [parsed(said), said]


class ListOutput(_Output):
    """`items` different strings, such as keywords.

    No JSON schema that a model's server enforces can say "different". With `candidates`, that many strings are asked
    for, and the first `items` different ones are kept: small models repeat themselves. With `at_least`, a list that is
    still too short after a repair is taken if it has that many different strings.
    """

    type: Literal["list"]
    items: int = Field(ge=1, le=100)
    candidates: int | None = Field(default=None, ge=1, le=200)
    # Left out if unset, so that such a pipeline keeps its version and its paid answers.
    at_least: int | None = Field(default=None, ge=1, exclude_if=lambda value: value is None)
    max_characters: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.candidates is not None and self.candidates < self.items:
            raise ValueError("candidates must be at least as many as items")
        if self.at_least is not None and self.at_least > self.items:
            raise ValueError("at_least must be at most as many as items")
        return self

    def json_schema(self) -> Schema:
        """Return the schema of one answer."""
        return _array(_string(self.max_characters), self.candidates or self.items)

    def output_schema(self) -> Schema:
        """As `TextOutput.output_schema`."""
        least = self.items if self.at_least is None else self.at_least
        return {"type": "array", "items": {"type": "string"}, "minItems": least, "maxItems": self.items}

    def read(self, value: Any) -> OutputValue:
        """Check the strings and return the first `items` that differ. Those beyond them, and blanks, are ignored.

        Raises:
            InvalidAnswer: too few differ. `usable` are the different ones, if there are `at_least` that many.
        """
        asked_for = self.candidates or self.items
        if not isinstance(value, list):
            raise InvalidAnswer(f"must be an array of exactly {asked_for} items")
        said = [_text(item, self.max_characters) for item in value if not _is_blank(item)]
        distinct = _distinct(said)
        if len(distinct) >= self.items:
            return distinct[: self.items]
        usable = distinct if self.at_least is not None and len(distinct) >= self.at_least else None
        repeated = [item for item, count in Counter(map(item_key, said)).items() if count > 1]
        if repeated:
            names = ", ".join(
                json.dumps(shortened(item, _SHOWN_CHARACTERS), ensure_ascii=False) for item in repeated[:_MOST_NAMED]
            )
            problem = f"must be {asked_for} items that differ from one another; more than once it has {names}"
        elif len(said) < len(value):
            problem = "must be strings that are not blank"
        else:
            problem = f"must be an array of exactly {asked_for} items"
        raise InvalidAnswer(problem, usable=usable)

    def may_be(self, output: OutputValue) -> bool:
        """As `TextOutput.may_be`."""
        is_list = isinstance(output, list) and 0 < len(output) <= self.items
        return is_list and all(isinstance(item, str) and item.strip() for item in output)

    def bare_values(self, said: str) -> list[Any]:
        """As `TextOutput.bare_values`."""
        return [parsed(said)]

    def joined(self, earlier: list[str], later: list[str]) -> list[str]:
        """The items of two answers that differ, the earlier answer's first."""
        return _distinct([*earlier, *later])[: self.items]


class JsonOutput(_Output):
    """Anything that a JSON schema (draft 2020-12) allows.

    It has no $ref, because it becomes part of the request's schema.
    """

    type: Literal["json"]
    schema_: Schema = Field(alias="schema")

    @field_validator("schema_")
    @classmethod
    def _valid(cls, schema: Schema) -> Schema:
        from docsluice_consumer.tasks.answer_schema import schema_problem  # noqa: PLC0415 - 3 MiB, for this type only

        if problem := schema_problem(schema):
            raise ValueError(problem)
        return schema

    @model_validator(mode="after")
    def _compiled_at_once(self) -> Self:
        _ = self.compiled  # not while a first answer waits
        return self

    @cached_property
    def compiled(self) -> tuple[AnswerSchema, OptionalNulls]:
        """The compiled schema, and what removes the nulls of strict mode."""
        from docsluice_consumer.tasks.answer_schema import AnswerSchema  # noqa: PLC0415

        return AnswerSchema(self.schema_), OptionalNulls(self.schema_)

    def json_schema(self) -> Schema:
        """Return the schema of one answer."""
        return self.schema_

    def output_schema(self) -> Schema:
        """As `TextOutput.output_schema`."""
        return self.schema_

    def read(self, value: Any) -> OutputValue:
        """Check the value against the schema and return it.

        If it does not fit, it is read without the nulls of optional properties. Strict mode knows no other way to leave
        one out.
        """
        schema, nulls = self.compiled
        if excess := schema.excess(value):
            raise InvalidAnswer(excess)
        if value == self.schema_:
            raise InvalidAnswer("must be what the schema describes, not the schema itself")
        if schema.problem(value) is None:
            return value
        value = nulls.left_out(value)
        if problem := schema.problem(value):
            raise InvalidAnswer(problem)
        return value

    def may_be(self, output: OutputValue) -> bool:
        """As `TextOutput.may_be`."""
        schema, _ = self.compiled
        return not schema.excess(output) and schema.problem(output) is None

    def bare_values(self, said: str) -> list[Any]:
        """As `TextOutput.bare_values`. An object is the answer if it has all that the schema requires."""
        kind, required = self.schema_.get("type"), frozenset(self.schema_.get("required", ()))
        if kind == "object" and required:
            return list(objects_in(said, fields=required))
        value = parsed(said)
        return [value] if kind is not None and value is not NO_JSON and not isinstance(value, dict) else []


Output = Annotated[TextOutput | ChoiceOutput | ListOutput | JsonOutput, Field(discriminator="type")]


def item_key(item: str) -> str:
    """A key that is equal for items that differ only in case, spaces, a full stop or the encoding of an accent."""
    return " ".join(unicodedata.normalize("NFKC", item).casefold().split()).rstrip(".,;:") or item


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


def _is_blank(item: Any) -> bool:
    return isinstance(item, str) and not item.strip()


def _distinct(items: list[str]) -> list[str]:
    """The different items, each as it was first said."""
    first: dict[str, str] = {}
    for item in items:
        first.setdefault(item_key(item), item)
    return list(first.values())


def _items(value: Any, count: int, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != count:
        raise InvalidAnswer(f"must be an array of exactly {count} {what}")
    return value
