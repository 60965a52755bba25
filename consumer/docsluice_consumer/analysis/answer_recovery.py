"""One step about one text, with every remedy for an invalid answer before the document is given up.

cut at its bound ─► once more with a larger one ─┐
not what was asked for ─► one repair ────────────┼─► the next model of the chain ─► rejected
a list with too few items that differ ─► one repair ─► those that differ, where the task takes so few
refused, filtered, too often failed ─────────────┘
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from docsluice.messages import DeadLetterReason, OutputValue
from docsluice_consumer.analysis.answer_source import AnswerSource
from docsluice_consumer.analysis.rejections import rejection_if_used_up, rejection_of
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import InvalidAnswer, RecordRejected
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.llm.worker_thread import in_worker_thread
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.store.step_store import PaidStep
from docsluice_consumer.tasks.steps import Step
from docsluice_consumer.telemetry.metrics import Metrics

_ROOMIER = 4
"""How many times the bound an answer that was cut gets. An answer that never ends is paid for up to it."""
_ANOTHER_MODEL_MAY = frozenset(DeadLetterReason) - {
    DeadLetterReason.TOO_LARGE,  # all models were considered
    DeadLetterReason.UNDECODABLE,
    DeadLetterReason.INVALID_EVENT,
    DeadLetterReason.UNEXPECTED,
}


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A valid answer, by task, and the model that gave it."""

    outputs: dict[str, OutputValue]
    model: ModelRef | None


@dataclass(frozen=True, slots=True)
class _Invalid:
    """An answer that the step cannot read."""

    answer: Answer
    problem: InvalidAnswer

    @property
    def usable(self) -> ParsedAnswer | None:
        """The part of it that can be used if nothing better comes."""
        outputs = self.problem.usable
        return None if outputs is None else ParsedAnswer(outputs, self.answer.model)

    def rejection(self, step: Step, message: str) -> RecordRejected:
        """The rejection of the document for this answer, with the answer in it."""
        return RecordRejected(
            DeadLetterReason.INVALID_ANSWER,
            f"{message}: {self.problem}",
            step=step.name,
            model=self.answer.model,
            answer=self.answer.text,
            cause=message,
        )


Keep: TypeAlias = Callable[[PaidStep], Awaitable[PaidStep]]
_Read: TypeAlias = Callable[[Answer], Awaitable[ParsedAnswer | _Invalid]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One step about one text. `keep` takes its answer while the call that gave it holds its slot."""

    step: Step
    document_usage: DocumentUsage
    keep: Keep

    async def kept(self, said: ParsedAnswer) -> PaidStep:
        """The answer, once it is kept."""
        usage, cost_usd = self.document_usage.taken()
        models = dict.fromkeys(said.outputs, str(said.model))
        return await self.keep(PaidStep(outputs=said.outputs, models=models, usage=usage, cost_usd=cost_usd))


class AnswerRecovery:
    """Makes a step's request, and the calls that may repair it."""

    def __init__(self, *, answers: AnswerSource, metrics: Metrics) -> None:
        self._answers = answers
        self._metrics = metrics

    async def answer(self, step: Step, request: ChatRequest, document_usage: DocumentUsage, *, keep: Keep) -> PaidStep:
        """Call until an answer is valid, and give it to `keep` while its call holds its slot.

        Raises:
            RecordRejected: no model of the chain gives a valid answer.
            ServiceFault: the provider refuses all requests.
            Exception: what `keep` raises.
        """
        question = _Question(step=step, document_usage=document_usage, keep=keep)
        rejection: RecordRejected | None = None
        while True:
            try:
                with _unless_too_large(rejection):
                    return await self._valid(question, request)
            except RecordRejected as latest:
                others = request.without(latest.model)
                if others is None or latest.reason not in _ANOTHER_MODEL_MAY:
                    raise
                self._note_retry(question, latest.reason)
                request, rejection = others, latest

    async def _valid(self, question: _Question, request: ChatRequest) -> PaidStep:
        """Call, and make one repair if the answer is invalid."""

        async def read(answer: Answer) -> ParsedAnswer | _Invalid:
            try:
                outputs = await in_worker_thread(len(answer.text), lambda: question.step.read(answer))
            except InvalidAnswer as problem:
                return _Invalid(answer, problem)
            return ParsedAnswer(outputs, answer.model)

        first = await self._whole(question, request, read)
        if not isinstance(first, _Invalid):
            return first
        self._note_retry(question, DeadLetterReason.INVALID_ANSWER)
        no_room = "the answer is not valid, and a call with what is wrong with it would be too large"
        try:
            with _unless_too_large(first.rejection(question.step, no_room)):
                return await self._repaired(question, request, first)
        except RecordRejected:
            if first.usable is None:
                raise
            # Short of a few items, and nothing better came.
            return await question.kept(first.usable)

    async def _repaired(self, question: _Question, request: ChatRequest, first: _Invalid) -> PaidStep:
        """Make the repair: call once more, with the first answer and what is wrong with it."""
        step = question.step
        document = step.document_in(request)

        async def read(answer: Answer) -> ParsedAnswer | _Invalid:
            try:
                outputs = await in_worker_thread(
                    len(answer.text) + len(document),
                    lambda: step.read_repaired(answer, document=document, problem=first.problem),
                )
            except InvalidAnswer as problem:
                return first.usable or _Invalid(answer, problem)
            return ParsedAnswer(outputs, answer.model)

        repaired = await self._whole(question, step.repair(request, first.answer, first.problem), read)
        if not isinstance(repaired, _Invalid):
            return repaired
        raise repaired.rejection(step, "the answer is still not valid after a repair") from repaired.problem

    async def _whole(self, question: _Question, request: ChatRequest, read: _Read) -> PaidStep | _Invalid:
        """Call, and call once more if the answer was cut too early."""
        try:
            return await self._once(question, request, read)
        except RecordRejected as rejection:
            roomier = request.roomier(_ROOMIER)
            if rejection.reason is not DeadLetterReason.TRUNCATED or roomier is None:
                raise
            self._note_retry(question, rejection.reason)
            with _unless_too_large(rejection):
                return await self._once(question, roomier, read)

    async def _once(self, question: _Question, request: ChatRequest, read: _Read) -> PaidStep | _Invalid:
        """Call, read the answer, and keep it while its call holds its slot."""
        async with self._answers.answer(request, question.document_usage) as answer:
            rejection = rejection_of(request.to(answer.model or request.model), answer)
            if rejection is None:
                said = await read(answer)
                if isinstance(said, ParsedAnswer):
                    return await question.kept(said)
                rejection = None if said.usable else rejection_if_used_up(request, answer)
                if rejection is None:
                    return said
            text = await in_worker_thread(len(answer.text), lambda: question.step.before_the_cut(answer.text))
            if text is not None and isinstance(said := await read(replace(answer, text=text)), ParsedAnswer):
                return await question.kept(said)
        raise rejection

    def _note_retry(self, question: _Question, reason: DeadLetterReason) -> None:
        question.document_usage.note_failure()
        self._metrics.call_retried(task=question.step.name, reason=reason.value)


@contextlib.contextmanager
def _unless_too_large(mended: RecordRejected | None) -> Iterator[None]:
    """A remedy that no model has room for changes nothing, and says nothing of the document's own size."""
    try:
        yield
    except RecordRejected as rejection:
        if mended is None or rejection.reason is not DeadLetterReason.TOO_LARGE:
            raise
        raise mended from rejection
