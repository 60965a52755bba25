"""Builds steps from a pipeline file: in `fanout` mode one for each task, in `fused` mode one for all tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from docsluice.validation.json_values import compact_json
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.chat import Message, ModelParameters, Sampling
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.tasks.chunking import beginning_of, most_runs, shared_out, shown
from docsluice_consumer.tasks.pipeline_file import Example, PipelineFile, Task, passed_through
from docsluice_consumer.tasks.steps import Condensing, Step, system_message
from docsluice_consumer.tasks.strict_schema import CannotBeStrict, strict

FUSED = "fused"
_SAMPLING_FIELDS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "reasoning_effort", "seed", "stop")


def models_without_a_task(pipeline: PipelineFile, steps: Iterable[Step]) -> list[str]:
    """A sentence for each model with limits that no task asks, most likely a misspelt one."""
    asked = {model for step in steps for model in step.models}
    return [
        f"{pipeline.path}: models.{label} is no model of any task; they are {', '.join(map(str, sorted(asked)))}"
        for label in pipeline.models
        if pipeline.ref(label) not in asked
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What steps are made of: the file, and settings for what it leaves open."""

    file: PipelineFile
    default_models: tuple[ModelRef, ...]
    default_url: str

    def models(self, task: Task) -> tuple[ModelRef, ...]:
        """A task's chain."""
        return tuple(map(self.file.ref, task.models)) or self.default_models

    def servers(self, models: Iterable[ModelRef]) -> tuple[str, ...]:
        """Their addresses."""
        return tuple(dict.fromkeys(self._addresses(models).values()))

    def providers(self, models: Sequence[ModelRef]) -> dict[str, Any]:
        """What shapes the answers of their providers, beside the list of addresses."""
        addresses, entries = self._addresses(models), self.file.providers
        told: dict[str, Any] = {
            f"providers.{name}": entries[name].shaping
            for name in addresses
            if name in entries and entries[name].shaping
        }
        if 1 < len(set(addresses.values())) < len(addresses):
            told["addresses"] = list(addresses.values())  # which of them share one
        return told

    def _addresses(self, models: Iterable[ModelRef]) -> dict[str, str]:
        """By provider, in the order of the chain."""
        entries = self.file.providers
        return {
            name: entries[name].base_url if name in entries else self.default_url
            for name in dict.fromkeys(model.provider for model in models)
        }

    def parameters(self, models: Iterable[ModelRef]) -> dict[ModelRef, ModelParameters]:
        """Those that single models get."""
        written = {self.file.ref(label): own for label, own in self.file.models.items() if passed_through(own)}
        return {
            model: ModelParameters(
                reasoning_effort=own.reasoning_effort,
                seed=own.seed,
                stop=_stop(own.stop),
                extra_body=own.extra_body,
            )
            for model in models
            if (own := written.get(model))
        }


def steps_of(pipeline: PipelineFile, *, mode: str, default_model: str, default_url: str = "") -> tuple[Step, ...]:
    """The steps of a pipeline in the given mode.

    `default_model` and `default_url` are the model of tasks that name none, and the default provider's address.

    Raises:
        ConfigurationError: the tasks cannot share one call.
    """
    plan = _Plan(file=pipeline, default_models=(pipeline.ref(default_model),), default_url=default_url)
    if mode == FUSED and len(pipeline.tasks) > 1:
        return (_fused_step(plan),)
    return tuple(_step_that_splits(task.name, (task,), plan) for task in pipeline.tasks)


def _fused_step(plan: _Plan) -> Step:
    tasks = plan.file.tasks
    wanted = {field: {str(getattr(task, field)) for task in tasks} for field in (*_SAMPLING_FIELDS, "extra_body")}
    wanted["long"] = {task.long for task in tasks}
    wanted["first_characters"] = {str(task.first_characters) for task in tasks}
    wanted["model"] = {str(plan.models(task)) for task in tasks}
    problems = [
        f"{plan.file.path}: fused mode asks all tasks in one call, but they differ in {field}; "
        "make them equal or set the mode to fanout"
        for field, values in wanted.items()
        if len(values) > 1
    ]
    if problems:
        raise ConfigurationError(problems)
    return _step_that_splits(FUSED, tuple(tasks), plan)


def _step_that_splits(name: str, tasks: tuple[Task, ...], plan: _Plan) -> Step:
    step = _step(name, tasks, plan)
    return dataclasses.replace(step, condensing=_condensing(step, plan))


def _condensing(step: Step, plan: _Plan) -> tuple[Condensing, ...]:
    """The prose tasks for a whole document, for each half, and for each third, as far as their lengths allow.

    A model that is asked about everything at once may speak of the beginning or the end alone.
    """
    if step.long != "split":
        return ()

    def shares(tasks: Sequence[Task], count: int) -> tuple[Step, ...]:
        shared = zip(*(shared_out(task, count) for task in tasks), strict=True)
        return tuple(_step(step.name, share, plan) for share in shared)

    alike: dict[int, list[Task]] = {}
    for task in step.tasks:
        if task.output.type == "text":
            alike.setdefault(most_runs(task), []).append(task)
    return tuple(
        Condensing(
            tasks=tuple(task.name for task in tasks),
            plans=tuple(shares(tasks, count) for count in range(1, most + 1)),
        )
        for most, tasks in alike.items()
    )


def _step(name: str, tasks: tuple[Task, ...], plan: _Plan) -> Step:
    first, models = tasks[0], plan.models(tasks[0])
    bounds = [task.max_output_tokens for task in tasks]
    sent = {task.name: _sent_schema(task) for task in tasks}
    return Step(
        name=name,
        models=models,
        tasks=tasks,
        instructions=plan.file.instructions,
        preamble=(system_message(tasks, plan.file.instructions), *_turns(tasks, plan.file.examples)),
        schema=_object_of({task.name: task.output.json_schema() for task in tasks}),
        sent_schema=_object_of({name: schema for name, (schema, _) in sent.items()}),
        strict=all(is_strict for _, is_strict in sent.values()),
        sampling=Sampling(
            max_output_tokens=None if None in bounds else sum(bound or 0 for bound in bounds),
            stop=_stop(first.stop),
            **{field: getattr(first, field) for field in _SAMPLING_FIELDS if field != "stop"},
        ),
        extra_body=first.extra_body,
        by_model=plan.parameters(models),
        servers=plan.servers(models),
        providers=plan.providers(models),
        long=first.long,
        first_characters=first.first_characters,
    )


def _stop(sequences: list[str] | None) -> tuple[str, ...] | None:
    return None if sequences is None else tuple(sequences)


def _turns(tasks: tuple[Task, ...], examples: list[Example]) -> list[Message]:
    """The examples that answer every one of these tasks, as earlier turns."""
    turns: list[Message] = []
    for example in examples:
        if all(task.name in example.answers for task in tasks):
            answer = {task.name: shown(task, example.answers[task.name]) for task in tasks}
            document = beginning_of(example.document.strip(), tasks[0].first_characters)
            turns += [Message("user", document), Message("assistant", compact_json(answer))]
    return turns


def _object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _sent_schema(task: Task) -> tuple[dict[str, Any], bool]:
    """The schema that is sent for a task, and whether it is fit for strict mode."""
    schema = task.output.json_schema()
    try:
        return strict(schema), True
    except CannotBeStrict:
        return schema, False
