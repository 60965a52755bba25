"""`output:` of the pipeline file: the form of results, their topics, and what they carry besides."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from docsluice.messages import NotBlank, is_error_header
from docsluice.network.urls import checked_topic
from docsluice.result_forms import KEY_HEADER, Form, field_names
from docsluice.validation.validation_problems import FieldProblem
from docsluice_consumer.tasks.outputs import ChoiceOutput, ListOutput, Output
from docsluice_consumer.tasks.provider_entry import Part

_OWN_HEADERS = frozenset({"content-type", KEY_HEADER})
_KEY = "analysis"


def _carried(name: str) -> str:
    if name.lower().startswith("ce_") or name.lower() in _OWN_HEADERS or is_error_header(name):
        raise ValueError(f"must not hold {name}, which docsluice sets itself; input.metadata can carry its value")
    return name


def _field(name: str) -> str:
    if name not in (known := field_names()):
        raise ValueError(f"must be fields of a flat result: {', '.join(known)}; outputs and metadata are always there")
    return name


Topic = Annotated[str, AfterValidator(checked_topic)]


class OutputEntry(Part):
    """How results are written, where to, and what they carry besides their own."""

    form: Form = "nested"
    format: Literal["json", "connect", "avro"] = "json"
    key: NotBlank | None = None
    """Under which field of a merged result the answers are."""
    fields: list[Annotated[NotBlank, AfterValidator(_field)]] | None = None
    """The fields of a flat or merged result beside its outputs."""
    route: dict[NotBlank, dict[NotBlank, Topic]] = Field(default_factory=dict)
    """By task and answer, the topic of such results."""
    headers: list[Annotated[NotBlank, AfterValidator(_carried)]] = Field(default_factory=list)

    @property
    def answers_key(self) -> str:
        """Under which field of a merged result the answers are."""
        return self.key or _KEY

    @property
    def topics(self) -> list[str]:
        """The topics that results are routed to."""
        return list(dict.fromkeys(topic for topics in self.route.values() for topic in topics.values()))

    @model_validator(mode="after")
    def _of_one_form(self) -> Self:
        if self.key is not None and self.form != "merged":
            raise FieldProblem("key", "is for form: merged, where the answers are under it")
        if self.fields is not None and self.form == "nested":
            raise FieldProblem("fields", "is for form: flat or merged; a nested result has all of them")
        if self.format != "json" and self.form != "flat":
            raise FieldProblem("format", f"{self.format} is for form: flat, whose fields become the columns of a table")
        return self

    def check_routes(self, outputs: dict[str, Output]) -> None:
        """Check the routes against the outputs of the tasks, by name.

        Raises:
            FieldProblem: a task is unknown, or never gives such an answer.
        """
        for task, topics in self.route.items():
            place, output = f"output.route.{task}", outputs.get(task)
            if output is None:
                raise FieldProblem(place, f"no task is named {task}")
            if isinstance(output, ChoiceOutput):
                for answer in topics:
                    if answer not in output.labels:
                        raise FieldProblem(place, f"{answer} is no label of {task}: {', '.join(output.labels)}")
            elif not isinstance(output, ListOutput):
                raise FieldProblem(place, "is for a choice or a list, whose answers can be named")
