"""A step: what one call asks the model, and how its answer is read. `step_building.py` makes steps of a file."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from docsluice.expressions.interpreter import NoValue
from docsluice.expressions.template import is_template
from docsluice.messages import DeadLetterReason, DocumentEvent, OutputValue
from docsluice.validation.json_values import NO_JSON
from docsluice_consumer.errors import InvalidAnswer, RecordRejected
from docsluice_consumer.llm.chat import Answer, ChatRequest, Message, ModelParameters, Sampling
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.tasks.answer_reading import closed_at_last_item, objects_in, parsed, unwrapped
from docsluice_consumer.tasks.outputs import ListOutput, Output
from docsluice_consumer.tasks.pipeline_file import Task
from docsluice_consumer.tasks.prompts import filled
from docsluice_consumer.tasks.repairs import CLOSING, is_echo, repair_text, shown_answer

_NEWER_SAMPLING_FIELDS = frozenset({"reasoning_effort", "seed", "stop"})
"""Left out of fingerprints while unset, so that older answers stay valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condensing:
    """Tasks that are condensed alike, with the questions about the parts' answers: in one run, two or three."""

    tasks: tuple[str, ...]
    plans: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call's worth of tasks, and the turns of the chat that come before every document."""

    name: str
    models: tuple[ModelRef, ...]
    """The chain: the first choice, and the models to ask if it fails or is too small."""
    tasks: tuple[Task, ...]
    preamble: tuple[Message, ...]
    schema: dict[str, Any]
    """The schema of the tasks, which the answer must meet."""
    sent_schema: dict[str, Any]
    """The schema that is sent: the same, changed for strict mode if possible."""
    strict: bool
    """Whether all of `sent_schema` is fit for strict mode."""
    sampling: Sampling
    long: Literal["reject", "head", "split"]
    """What happens to a document too large for one call."""
    first_characters: int | None = None
    """Only so many characters of a document are asked about."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every call's body."""
    by_model: Mapping[ModelRef, ModelParameters] = field(default_factory=dict)
    """Parameters that single models of the chain get."""
    servers: tuple[str, ...] = ("",)
    """The addresses of the chain's models, in its order. Empty for OpenAI's own."""
    providers: Mapping[str, Any] = field(default_factory=dict)
    """What else distinguishes the chain's providers from others with the same names."""
    condensing: tuple[Condensing, ...] = ()
    """How the answers about a split document's parts become one, for prose tasks."""
    instructions: str = ""
    """What begins the system message."""
    template: Step | None = None
    """The step with placeholders in its prompts, of which this one was made for a document."""
    filled_prompts: tuple[str, ...] = ()
    """The prompts with a document's metadata in them, where a template had placeholders."""

    @property
    def model(self) -> ModelRef:
        """The first choice."""
        return self.models[0]

    def about(self, event: DocumentEvent) -> Step:
        """The step with the event's metadata in its prompts. Itself where they have no placeholders.

        Raises:
            RecordRejected: the event lacks what a prompt uses.
        """
        if not any(is_template(task.prompt) for task in self.tasks):
            return self
        document = {"metadata": event.metadata, "document_id": event.document_id}
        tasks = tuple(task.model_copy(update={"prompt": _filled(task, document)}) for task in self.tasks)
        return dataclasses.replace(
            self,
            tasks=tasks,
            preamble=(system_message(tasks, self.instructions), *self.preamble[1:]),
            template=self,
            filled_prompts=tuple(task.prompt for task in tasks),
            condensing=tuple(
                dataclasses.replace(one, plans=tuple(tuple(share.about(event) for share in plan) for plan in one.plans))
                for one in self.condensing
            ),
        )

    def fingerprint(self, text: str) -> str:
        """The key of an answer: equal for the same question about the same text at the same servers.

        The servers are part of it: a rehearsal must never answer for the real model. docs/explanation/store.md lists
        all parts. Fields newer than the first release are left out while they are unset, so older answers stay valid.
        """
        before, after = self.asked
        filled = json.dumps(self.filled_prompts) if self.filled_prompts else ""
        question = hashlib.sha256(f"{before}{json.dumps(text)}{after}{filled}".encode()).hexdigest()
        servers = "\n".join(self.servers)
        return hashlib.sha256(f"{servers}\n{question}".encode()).hexdigest()

    @functools.cached_property
    def asked(self) -> tuple[str, str]:
        """What a fingerprint is made of, as JSON: what comes before the text, and after it.

        A template's steps share what is worked out once for it. Their filled prompts come behind.
        """
        if self.template is not None:
            return self.template.asked
        asked: dict[str, Any] = {
            "models": [str(model) for model in self.models],
            "preamble": [(message.role, message.content) for message in self.preamble],
            # The keys are not sorted, because a model writes its answer in the order of the schema's properties.
            "schema": self.schema,
            "outputs": [task.output.model_dump(mode="json") for task in self.tasks],
            "sampling": {
                name: value
                for name, value in dataclasses.asdict(self.sampling).items()
                if value is not None or name not in _NEWER_SAMPLING_FIELDS
            },
            "long": self.long,
            "text": "",
        }
        before = json.dumps(asked).removesuffix('""}')
        if self.extra_body:
            asked["extra_body"] = dict(self.extra_body)
        if self.by_model:
            asked["by_model"] = {str(model): dataclasses.asdict(own) for model, own in self.by_model.items()}
        if self.providers:
            asked["providers"] = dict(self.providers)
        return before, json.dumps(asked).removeprefix(f'{before}""')

    def is_answered_by(self, outputs: Mapping[str, OutputValue]) -> bool:
        """Whether stored outputs can be those of this step: one a task, each of its kind."""
        return outputs.keys() == {task.name for task in self.tasks} and all(
            task.output.may_be(outputs[task.name]) for task in self.tasks
        )

    def request(self, text: str, *, service_tier: str | None = None) -> ChatRequest:
        """The request about one document."""
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
        """The repair: the request with the model's answer and what is wrong with it."""
        return request.and_then(Message("assistant", shown_answer(answer.text)), Message("user", repair_text(problem)))

    def read(self, answer: Answer) -> dict[str, OutputValue]:
        """Find the answer in what the model said, check it and return one value a task.

        Raises:
            InvalidAnswer: it holds no JSON object, or none that fits the tasks. `usable` are the outputs that may be
                taken if a repair brings nothing better.
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

    def before_the_cut(self, said: str) -> str | None:
        """Return the whole part of a cut answer: a list may run on after everything that was asked for.

        A whole object may be followed by blanks only, which some models write for ever. None if nothing is whole. With
        a user's own schema nobody knows what is missing.
        """
        if isinstance(parsed(said), dict):
            return said
        return None if any(task.output.type == "json" for task in self.tasks) else closed_at_last_item(said)

    def read_repaired(self, answer: Answer, *, document: str, problem: InvalidAnswer) -> dict[str, OutputValue]:
        """Read the answer to a repair. Lists that are still too short are completed from both answers.

        Raises:
            InvalidAnswer: it is invalid too, or it repeats what the repair said.
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
        """Read an answer without the object around it, for a single task, if it can be nothing else.

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
        """The later outputs, with the items of the earlier lists first."""
        return {
            task.name: task.output.joined(earlier[task.name], later[task.name])
            if earlier is not None and isinstance(task.output, ListOutput)
            else later[task.name]
            for task in self.tasks
        }


def system_message(tasks: tuple[Task, ...], instructions: str) -> Message:
    """What a model is told before any document."""
    asked = [tasks[0].prompt] if len(tasks) == 1 else [f"- {task.name}: {task.prompt}" for task in tasks]
    return Message("system", "\n".join(line for line in (instructions.strip(), *asked, CLOSING) if line))


def _filled(task: Task, document: Mapping[str, Any]) -> str:
    try:
        return filled(task.prompt, document)
    except NoValue as problem:
        why = f"the prompt of {task.name}: {problem}"
        raise RecordRejected(DeadLetterReason.INVALID_EVENT, why, cause=why) from None


def _read(output: Output, value: Any) -> OutputValue:
    """Read a value, or the list or object in a string that was encoded twice."""
    try:
        return output.read(value)
    except InvalidAnswer:
        inside = parsed(value) if isinstance(value, str) else None
        if not isinstance(inside, list | dict):
            raise
        return output.read(inside)
