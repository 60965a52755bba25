"""Steps: what is put to the model in one call. `fanout` makes one of each task, `fused` one of all tasks together."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from consumer.contracts import OutputValue
from consumer.errors import ConfigurationError, InvalidAnswer
from consumer.json_values import NO_JSON
from consumer.llm.answer_reading import objects_in, parsed, unwrapped
from consumer.llm.chat import Answer, ChatRequest, Message, ModelParameters, Sampling
from consumer.llm.long_documents import most_runs, shared_out, shown
from consumer.llm.outputs import ListOutput, Output
from consumer.llm.pipeline_file import Example, PipelineFile, Task, passed_through
from consumer.llm.repairs import CLOSING, is_echo, repair_text, shown_answer
from consumer.llm.strict_schema import CannotBeStrict, strict
from consumer.model_ref import ModelRef

FUSED = "fused"
_SAMPLING_FIELDS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "reasoning_effort", "seed", "stop")
_NEWER_SAMPLING_FIELDS = frozenset({"reasoning_effort", "seed", "stop"})
"""Left out of fingerprints while they are not set: what was answered before there were any is still good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condensing:
    """Tasks that can be shared out alike, and what is asked about what was said: in one run, in two, in three."""

    tasks: tuple[str, ...]
    plans: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call's worth of tasks, and the turns of the chat that come before every document."""

    name: str
    models: tuple[ModelRef, ...]
    """The first choice, and what is asked where that one fails or is too small."""
    tasks: tuple[Task, ...]
    preamble: tuple[Message, ...]
    schema: dict[str, Any]
    """What the answer must meet, as the tasks put it."""
    sent_schema: dict[str, Any]
    """What is sent: the same, made fit for strict mode where that can be done."""
    strict: bool
    """Whether all of `sent_schema` is fit for strict mode."""
    sampling: Sampling
    long: Literal["reject", "head", "split"]
    """What becomes of a document too large for one call."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every call's body."""
    by_model: Mapping[ModelRef, ModelParameters] = field(default_factory=dict)
    """Parameters that single models of the chain get."""
    servers: tuple[str, ...] = ("",)
    """The addresses that the chain's models are asked at, in its order; empty for OpenAI's own."""
    providers: Mapping[str, Any] = field(default_factory=dict)
    """What else tells the chain's providers from others that are called the same."""
    condensing: tuple[Condensing, ...] = ()
    """How what was said of the parts of a document that was split is made one; for tasks that answer in prose."""

    @property
    def model(self) -> ModelRef:
        """The first choice."""
        return self.models[0]

    def fingerprint(self, text: str) -> str:
        """The same for the same question about the same text at the same servers: its answer can be used again.

        The servers are part of it, for a rehearsal must never answer for the real model. See docs/store.md for all that
        is. What is newer than the first release is left out while it is not set: answers of before are still good.
        """
        asked: dict[str, Any] = {
            "models": [str(model) for model in self.models],
            "preamble": [(message.role, message.content) for message in self.preamble],
            # The keys are not sorted: a model writes its answer in the order of the schema's properties.
            "schema": self.schema,
            "outputs": [task.output.model_dump(mode="json") for task in self.tasks],
            "sampling": {
                name: value
                for name, value in dataclasses.asdict(self.sampling).items()
                if value is not None or name not in _NEWER_SAMPLING_FIELDS
            },
            "long": self.long,
            "text": text,
        }
        if self.extra_body:
            asked["extra_body"] = dict(self.extra_body)
        if self.by_model:
            asked["by_model"] = {str(model): dataclasses.asdict(own) for model, own in self.by_model.items()}
        if self.providers:
            asked["providers"] = dict(self.providers)
        question = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        servers = "\n".join(self.servers)
        return hashlib.sha256(f"{servers}\n{question}".encode()).hexdigest()

    def is_answered_by(self, outputs: Mapping[str, OutputValue]) -> bool:
        """Whether these can be the outputs of this step: one a task, each of its kind. For what a store holds."""
        return outputs.keys() == {task.name for task in self.tasks} and all(
            task.output.may_be(outputs[task.name]) for task in self.tasks
        )

    def request(self, text: str, *, service_tier: str | None = None) -> ChatRequest:
        """Ask about one document."""
        return ChatRequest(
            step=self.name,
            model=self.model,
            fallbacks=self.models[1:],
            service_tier=service_tier,
            messages=(*self.preamble, Message("user", text)),
            schema=self.sent_schema,
            strict=self.strict,
            sampling=self.sampling,
            extra_body=self.extra_body,
            by_model=self.by_model,
        )

    def document_in(self, request: ChatRequest) -> str:
        """The text that a request of this step is about."""
        return request.messages[len(self.preamble)].content

    def repair(self, request: ChatRequest, answer: Answer, problem: InvalidAnswer) -> ChatRequest:
        """Ask again, showing the model its answer and what is wrong with it."""
        return request.and_then(Message("assistant", shown_answer(answer.text)), Message("user", repair_text(problem)))

    def read(self, answer: Answer) -> dict[str, OutputValue]:
        """Find the answer in what the model said, check it and return one value a task.

        Raises:
            InvalidAnswer: it holds no JSON object, or none that is what the tasks asked for. `usable` are the outputs
                that may be taken where a repair brings nothing better.
        """
        problem: InvalidAnswer | None = None
        for fields in objects_in(answer.text, fields=frozenset(task.name for task in self.tasks)):
            try:
                return self._checked(fields)
            except InvalidAnswer as latest:
                problem = problem or latest
        if problem is None:
            return self._bare(answer.text)
        raise problem

    def read_repaired(self, answer: Answer, *, document: str, problem: InvalidAnswer) -> dict[str, OutputValue]:
        """Read the answer to a repair. Lists that are still too short are made up from both answers.

        Raises:
            InvalidAnswer: it is no answer either, or it repeats what the repair said.
        """
        try:
            outputs = self.read(answer)
        except InvalidAnswer as still:
            if still.usable is None:
                raise
            outputs = self._joined(problem.usable, still.usable)
        for task in self.tasks:
            if is_echo(outputs[task.name], prompt=task.prompt, problem=problem, document=document):
                raise InvalidAnswer(f"{task.name} repeats what the model was told instead of answering")
        return outputs

    def _checked(self, fields: dict[str, Any]) -> dict[str, OutputValue]:
        outputs: dict[str, OutputValue] = {}
        problems: list[str] = []
        for task in self.tasks:
            try:
                outputs[task.name] = _read(task.output, fields[task.name])
            except InvalidAnswer as problem:
                message = f"{task.name} {problem}"
                if problem.usable is None:
                    raise InvalidAnswer(message) from problem
                outputs[task.name] = problem.usable
                problems.append(message)
        if problems:
            raise InvalidAnswer("; ".join(problems), usable=outputs)
        return outputs

    def _bare(self, text: str) -> dict[str, OutputValue]:
        """Read an answer without the object round it, where one task was asked and it can be nothing else.

        Raises:
            InvalidAnswer: there is no such answer.
        """
        said = unwrapped(text)
        if len(self.tasks) == 1:
            (task,) = self.tasks
            for bare in task.output.bare_values(said):
                with contextlib.suppress(InvalidAnswer):
                    return {task.name: task.output.read(bare)}
        found = next(objects_in(text, fields=frozenset()), None)
        if found is not None:
            missing = next(task.name for task in self.tasks if task.name not in found)
            raise InvalidAnswer(f"it has no field {missing}")
        raise InvalidAnswer("it is not JSON" if parsed(said) is NO_JSON else "it is not a JSON object")

    def _joined(self, earlier: dict[str, OutputValue] | None, later: dict[str, OutputValue]) -> dict[str, OutputValue]:
        """The later outputs, with the items of the earlier lists before their own."""
        return {
            task.name: task.output.joined(earlier[task.name], later[task.name])
            if earlier is not None and isinstance(task.output, ListOutput)
            else later[task.name]
            for task in self.tasks
        }


def models_without_a_task(pipeline: PipelineFile, steps: Iterable[Step]) -> list[str]:
    """A sentence for each model that the file has limits for and that no task asks, most likely a misspelt one."""
    asked = {model for step in steps for model in step.models}
    return [
        f"{pipeline.path}: models.{label} is no model of any task; they are {', '.join(map(str, sorted(asked)))}"
        for label in pipeline.models
        if pipeline.ref(label) not in asked
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What steps are made of: the file, and the settings that stand in for what it leaves open."""

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
        """What of their providers shapes answers and is not told by the list of their addresses."""
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
    """The tasks that answer in prose, for all of a document, for each half and each third apart, as far as they go.

    A model that is asked about all of it at once may well speak of its beginning or its end alone.
    """
    prose = [task for task in step.tasks if task.output.type == "text"]
    if step.long != "split":
        return ()

    def shares(tasks: Sequence[Task], count: int) -> tuple[Step, ...]:
        shared = zip(*(shared_out(task, count) for task in tasks), strict=True)
        return tuple(_step(step.name, share, plan) for share in shared)

    alike: dict[int, list[Task]] = {}
    for task in prose:
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
        preamble=(Message("system", _system(tasks, plan.file.instructions)), *_turns(tasks, plan.file.examples)),
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
    )


def _stop(sequences: list[str] | None) -> tuple[str, ...] | None:
    return None if sequences is None else tuple(sequences)


def _system(tasks: tuple[Task, ...], instructions: str) -> str:
    asked = [tasks[0].prompt] if len(tasks) == 1 else [f"- {task.name}: {task.prompt}" for task in tasks]
    return "\n".join(line for line in (instructions.strip(), *asked, CLOSING) if line)


def _turns(tasks: tuple[Task, ...], examples: list[Example]) -> list[Message]:
    """The examples that answer every one of these tasks, as earlier turns."""
    turns: list[Message] = []
    for example in examples:
        if all(task.name in example.answers for task in tasks):
            answer = {task.name: shown(task, example.answers[task.name]) for task in tasks}
            turns += [Message("user", example.document.strip()), Message("assistant", _compact(answer))]
    return turns


def _object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _sent_schema(task: Task) -> tuple[dict[str, Any], bool]:
    """The schema that a task's answer is asked for with, and whether it is fit for strict mode."""
    schema = task.output.json_schema()
    try:
        return strict(schema), True
    except CannotBeStrict:
        return schema, False


def _read(output: Output, value: Any) -> OutputValue:
    """Read a value, or the list or object in a string that was encoded twice."""
    try:
        return output.read(value)
    except InvalidAnswer:
        inside = parsed(value) if isinstance(value, str) else None
        if not isinstance(inside, list | dict):
            raise
        return output.read(inside)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
