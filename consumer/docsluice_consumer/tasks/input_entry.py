"""`input:` of the pipeline file: how records become events."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from docsluice.expressions.expression import RECORD_NAMES, Expression
from docsluice.expressions.template import is_template, readable
from docsluice.messages import NotBlank
from docsluice.validation.record_bytes import is_charset
from docsluice.validation.validation_problems import FieldProblem
from docsluice_consumer.tasks.provider_entry import Part


def _readable(source: str) -> str:
    readable(source, names=RECORD_NAMES)
    return source


def _condition(source: str) -> str:
    if is_template(source):
        raise ValueError("must be one expression, without {{ }}")
    Expression(source, names=RECORD_NAMES)
    return source


def _charset(name: str) -> str:
    if not is_charset(name):
        raise ValueError("must be a charset that Python knows, such as utf-16 or windows-1252")
    return name


Source = Annotated[NotBlank, AfterValidator(_readable)]


class InputEntry(Part):
    """How the records of the input topic become events. Without any field, a value is the event."""

    format: Literal["json", "text"] | None = None
    charset: Annotated[NotBlank, AfterValidator(_charset)] | None = None
    document_id: Source | None = None
    text: Source | None = None
    uri: Source | None = None
    """Where the text is, in place of the text."""
    metadata: dict[NotBlank, Source] | None = None
    when: Annotated[NotBlank, AfterValidator(_condition)] | None = None
    strict: bool = Field(default=False, strict=True)

    @property
    def is_mapping(self) -> bool:
        """Whether a value is no event as it is."""
        return any(one is not None for one in (self.document_id, self.text, self.uri, self.metadata))

    @model_validator(mode="after")
    def _strict_about_events(self) -> Self:
        if self.strict and self.is_mapping:
            raise FieldProblem(
                "strict", "is for values that are events; with document_id, text or metadata leave it out"
            )
        if self.text is not None and self.uri is not None:
            raise FieldProblem("uri", "is in place of text; leave one of them out")
        return self
