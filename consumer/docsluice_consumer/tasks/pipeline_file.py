"""The pipeline file: which tasks the model gets for each document, and how (docs/reference/pipeline-file.md)."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    field_serializer,
    model_validator,
)

from docsluice.messages import NotBlank, OutputValue
from docsluice.validation.validation_problems import FieldProblem
from docsluice_consumer.errors import InvalidAnswer
from docsluice_consumer.llm.yaml_file import load_yaml, unfit
from docsluice_consumer.model_ref import ModelRef, model_ref, problem_of_label
from docsluice_consumer.tasks.input_entry import InputEntry
from docsluice_consumer.tasks.output_entry import OutputEntry
from docsluice_consumer.tasks.outputs import Output
from docsluice_consumer.tasks.prompts import checked_prompt
from docsluice_consumer.tasks.provider_entry import MinuteLimitsEntry, Part, ProviderEntry, provider_name

BUILT_IN = "built-in"
_TASK_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_OWN_FIELDS = frozenset(
    {
        "model",
        "messages",
        "response_format",
        "stream",
        "n",
        "tools",
        "tool_choice",
        "max_tokens",
        "max_completion_tokens",
    }
)
"""Fields of the body that docsluice fills in. Passed through, they would break the reading of the answer."""
_PARAMETERS = ("reasoning_effort", "seed", "stop", "extra_body")


def _task_name(name: str) -> str:
    """Check a task's name. It is a field of the answer and of the result, and a label of the metrics."""
    if not _TASK_NAME.fullmatch(name):
        raise ValueError("must be 1 to 64 lower-case letters (a to z), digits and underscores, beginning with a letter")
    return name


def _as_list(models: object) -> object:
    return [models] if isinstance(models, str) else models


def _foreign_fields(body: dict[str, Any]) -> dict[str, Any]:
    if own := sorted(_OWN_FIELDS & body.keys()):
        raise ValueError(f"must not hold {', '.join(own)}, which docsluice sets itself")
    return body


_ONE_OR_MORE = BeforeValidator(_as_list, json_schema_input_type=str | list[str])
Seed = Annotated[int, Field(strict=True)]
Stop = Annotated[list[NotBlank], _ONE_OR_MORE, Field(min_length=1, max_length=4)]
ExtraBody = Annotated[dict[str, Any], AfterValidator(_foreign_fields)]


class Task(Part):
    """One thing asked of the model about a document."""

    name: Annotated[str, AfterValidator(_task_name)]
    prompt: Annotated[NotBlank, AfterValidator(checked_prompt)]
    output: Output
    model: Annotated[list[NotBlank], _ONE_OR_MORE, Field(min_length=1)] | None = None
    """The chain: the first choice, and the models to ask if it fails or is too small."""
    long: Literal["reject", "head", "split"] = "reject"
    """What happens to a document too large for one call: a dead letter, only its beginning, or in parts."""
    first_characters: int | None = Field(default=None, ge=16)
    """Only so many characters of a document are asked about, from its beginning."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: NotBlank | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    extra_body: ExtraBody = Field(default_factory=dict)

    @model_validator(mode="after")
    def _splittable(self) -> Self:
        if self.long == "split" and self.output.type == "json":
            raise ValueError("long: split is for text, choice and list, whose answers can be put together; use head")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """The first choice and its fall-backs. Empty if the task names none."""
        return tuple(self.model or ())

    @field_serializer("model")
    def _as_written(self, model: list[str] | None) -> list[str] | str | None:
        """A single model is written as a name, as in older versions."""
        return model[0] if model and len(model) == 1 else model


class ModelEntry(MinuteLimitsEntry):
    """The limits of one model, if they differ from its account's, and the parameters that it always gets."""

    context_tokens: int | None = Field(default=None, gt=0, strict=True)
    reasoning_effort: NotBlank | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    extra_body: ExtraBody = Field(default_factory=dict)


def passed_through(part: Task | ModelEntry) -> dict[str, Any]:
    """The parameters that are set and go to the model as they are."""
    return {name: value for name in _PARAMETERS if (value := getattr(part, name)) not in (None, {})}


class Example(Part):
    """A document with right answers, shown to the model as an earlier turn of the chat."""

    document: NotBlank
    answers: dict[str, OutputValue] = Field(min_length=1)


class PipelineFile(Part):
    """A pipeline, valid in itself."""

    name: NotBlank
    mode: Literal["fanout", "fused"] = "fanout"
    instructions: str = ""
    input: InputEntry = Field(default_factory=InputEntry)
    output: OutputEntry = Field(default_factory=OutputEntry)
    tasks: list[Task] = Field(min_length=1)
    examples: list[Example] = Field(default_factory=list)
    models: dict[str, ModelEntry] = Field(default_factory=dict)
    providers: dict[Annotated[str, AfterValidator(provider_name)], ProviderEntry] = Field(default_factory=dict)
    _path: str = PrivateAttr()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        outputs = {task.name: task.output for task in self.tasks}
        if len(outputs) < len(self.tasks):
            raise ValueError("tasks: each name may occur once")
        self.output.check_routes(outputs)
        for number, example in enumerate(self.examples):
            for name, answer in example.answers.items():
                if name not in outputs:
                    raise FieldProblem(f"examples.{number}.answers", f"no task is named {name}")
                try:
                    outputs[name].read(answer)
                except InvalidAnswer as problem:
                    raise FieldProblem(f"examples.{number}.answers.{name}", str(problem)) from problem
        return self

    @model_validator(mode="after")
    def _providers_known(self) -> Self:
        labels = [(f"tasks.{task.name}.model", label) for task in self.tasks for label in task.models]
        labels += [("models", label) for label in self.models]
        for place, label in labels:
            if problem := problem_of_label(label, providers=self.providers):
                raise FieldProblem(place, problem)
        return self

    def model_post_init(self, context: Any, /) -> None:
        """Take the path for messages, if there is one."""
        self._path = (context or {}).get("path", self.name)

    @property
    def path(self) -> str:
        """The file's name in messages, or the pipeline's name without a file."""
        return self._path

    def ref(self, label: str) -> ModelRef:
        """The model that a name in this file, or in a setting, means."""
        return model_ref(label, providers=self.providers)

    @property
    def context_tokens(self) -> dict[ModelRef, int]:
        """The contexts of models, as far as the file tells them."""
        return {self.ref(label): own.context_tokens for label, own in self.models.items() if own.context_tokens}

    def version(self, *, mode: str, default_model: str) -> str:
        """A hash of everything that shapes an answer. The same version means the same questions to the same models.

        `input` and `output` are no part of it: what a mapping makes of a record is in the result's id by itself.
        """
        model = default_model if any(task.model is None for task in self.tasks) else None
        file = self.model_dump(mode="json", exclude={"name", "mode", "input", "output", "models", "providers"})
        for task, written in zip(self.tasks, file["tasks"], strict=True):
            if written["long"] == "reject":  # as it was before there was a choice
                del written["long"]
            if written["first_characters"] is None:
                del written["first_characters"]
            for name in set(_PARAMETERS) - passed_through(task).keys():  # and before these could be set
                del written[name]
        shape: dict[str, Any] = {"file": file, "mode": mode, "model": model}
        if parameters := {name: given for name, own in self.models.items() if (given := passed_through(own))}:
            shape["models"] = parameters
        # The keys are not sorted, because a model writes its answer in the order of the schema's properties.
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12]


def load_pipeline_file(path: Path | None) -> PipelineFile:
    """Read the file, or the built-in pipeline when there is none.

    Raises:
        ConfigurationError: a sentence for each problem, naming the file and the field.
    """
    where = str(path or BUILT_IN)
    file = load_yaml(
        path or files("docsluice_consumer.tasks").joinpath("built-in.yaml"), name=where, variable="DOCSLUICE_PIPELINE"
    )
    try:
        return PipelineFile.model_validate(file.value, context={"path": where})
    except ValidationError as error:
        raise unfit(error, file, expected=PipelineFile) from error
