"""Asks the model about one document: its steps side by side, no question twice, long documents in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from docsluice.messages import DeadLetterReason, DocumentEvent, OutputValue
from docsluice_consumer.analysis.answer_cache import AnswerCache, Entry
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.answer_source import AnswerSource
from docsluice_consumer.analysis.rejections import rejected
from docsluice_consumer.analysis.usage import CostLimit, CostLimitExceeded, DocumentUsage
from docsluice_consumer.errors import RecordRejected, ServiceFault
from docsluice_consumer.store.step_store import PaidStep
from docsluice_consumer.tasks.chunking import in_line, runs, together
from docsluice_consumer.tasks.question import Question
from docsluice_consumer.tasks.steps import Condensing, Step

_MOST_PARTS = 64
_LEAST_BYTES = 64
"""A part that is still too large at this size has another problem than its length."""


@dataclass(slots=True, kw_only=True)
class _Terms:
    """What all calls for one step of one document share. `parts_left` bounds how often the document may be cut."""

    tier: str | None
    cost_limit: CostLimit
    parts_left: int = _MOST_PARTS


class Analyzer:
    """Asks all steps about a document."""

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        answers: AnswerSource,
        answer_recovery: AnswerRecovery,
        answer_cache: AnswerCache,
        max_cost_usd: Decimal | None = None,
        service_tier: str | None = None,
    ) -> None:
        self._steps = steps
        self._answers = answers
        self._answer_recovery = answer_recovery
        self._answer_cache = answer_cache
        self._max_cost_usd = max_cost_usd
        self._tier = service_tier

    def steps_about(self, event: DocumentEvent) -> Sequence[Step]:
        """The steps with the event's metadata in their prompts.

        Raises:
            RecordRejected: the event lacks what a prompt uses.
        """
        return [step.about(event) for step in self._steps]

    async def analyze(
        self,
        text: str,
        document_usage: DocumentUsage,
        *,
        steps: Sequence[Step] | None = None,
        priority: object = None,
    ) -> dict[str, OutputValue]:
        """Return one output a task. Tokens and cost are added to `document_usage` as they are spent, also on failure.

        `steps` are those of `steps_about`. Without them, the prompts are asked as they are written.

        When one step is rejected, the others still finish: their tokens are already being paid, and their answers are
        kept.

        Raises:
            RecordRejected: the first step's rejection, in the pipeline's order.
            ServiceFault: at once, whatever the other steps do.
        """
        cost_limit, tier = CostLimit(most_usd=self._max_cost_usd), self._service_tier(priority)
        questions = [Question.about(step, text) for step in (self._steps if steps is None else steps)]
        await self._reserve(cost_limit, questions)
        parts = {question.step.name: document_usage.part() for question in questions}
        document_usage.by_step = parts if len(parts) > 1 else {}
        answers = await _side_by_side(
            {
                f"step:{question.step.name}": partial(
                    self._paid, question, parts[question.step.name], _Terms(tier=tier, cost_limit=cost_limit)
                )
                for question in questions
            }
        )
        outputs: dict[str, OutputValue] = {}
        for paid in answers:
            outputs |= paid.outputs
            document_usage.models |= paid.models
            if paid.long is not None:
                document_usage.long |= dict.fromkeys(paid.outputs, paid.long)
        return outputs

    def _service_tier(self, priority: object) -> str | None:
        """The service tier for one document: `low` may be slow, `high` may not. None if no tier is set."""
        if self._tier is None:
            return None
        high = "default" if self._tier == "flex" else self._tier
        return {"low": "flex", "high": high}.get(str(priority).lower(), self._tier)

    async def _reserve(
        self,
        cost_limit: CostLimit,
        questions: Sequence[Question],
        *,
        instead_of: Question | None = None,
    ) -> None:
        """Refuse a document that is too expensive. Answers that are already paid for cost nothing.

        Raises:
            RecordRejected: the document's calls would cost more than allowed.
        """
        if cost_limit.most_usd is None:
            return
        unpaid = [question for question in questions if not await self._knows(question)]
        in_vain = self._expected_usd(instead_of) if instead_of else Decimal(0)
        try:
            cost_limit.reserve(sum(map(self._expected_usd, unpaid), Decimal(0)), instead_of=in_vain)
        except CostLimitExceeded as exceeded:
            why = (
                f"its calls would cost {exceeded}, and a document may cost {cost_limit.most_usd}"
                " (DOCSLUICE_MAX_COST_USD_PER_DOCUMENT)"
            )
            step = instead_of.step.name if instead_of else None
            raise RecordRejected(DeadLetterReason.TOO_LARGE, why, step=step, cause=why) from exceeded

    async def _knows(self, question: Question) -> bool:
        return await self._answer_cache.knows(question.fingerprint, fits=question.step.is_answered_by)

    def _expected_usd(self, question: Question) -> Decimal:
        """The expected cost of the call, in US dollars. With `head`, of the call about what fits."""
        is_head = question.step.long == "head" and self._is_to_be_cut(question)
        asked = question.about_head(self._room_for(question)) if is_head else question
        return self._answers.expected_cost_usd(asked.request())

    async def _paid(self, question: Question, document_usage: DocumentUsage, terms: _Terms) -> PaidStep:
        """The answer: from the answer cache, or else from a call, and then kept."""
        async with self._answer_cache.entry(question.fingerprint, fits=question.step.is_answered_by) as entry:
            if entry.known is None:
                return await self._asked(question, document_usage.part(), terms, entry)
            document_usage.count_saved(usage=entry.known.usage, cost_usd=entry.known.cost_usd)
            return entry.known

    async def _asked(self, question: Question, document_usage: DocumentUsage, terms: _Terms, entry: Entry) -> PaidStep:
        """Ask about the text as a whole. If it is too large, ask about less of it at a time. The answer is kept."""
        step = question.step
        if not self._is_to_be_cut(question):
            request = question.request(service_tier=terms.tier)
            try:
                return await self._answer_recovery.answer(step, request, document_usage, keep=entry.keep)
            except RecordRejected as rejection:
                if rejection.reason is not DeadLetterReason.TOO_LARGE or not self._may_be_cut(question):
                    raise
        most_bytes = self._room_for(question)
        if step.long == "split":
            paid = await self._asked_in_parts(question, most_bytes, document_usage, terms)
        else:
            paid = await self._paid(question.about_head(most_bytes), document_usage, terms)
        usage, cost_usd = document_usage.taken()
        return await entry.keep(paid.model_copy(update={"long": step.long, "usage": usage, "cost_usd": cost_usd}))

    def _may_be_cut(self, question: Question) -> bool:
        return question.step.long != "reject" and self._room_for(question) >= _LEAST_BYTES

    def _is_to_be_cut(self, question: Question) -> bool:
        """Whether to cut a text before any call, because a call about all of it would most likely be refused."""
        return self._may_be_cut(question) and not self._answers.likely_fits(question.request())

    def _room_for(self, question: Question) -> int:
        """How many bytes of text fit into one call. Half of this text if that is not known or was wrong."""
        size, request = question.text_bytes, question.request()
        room = self._answers.room_bytes(request)
        left = None if room is None else room - (request.input_bytes - size)
        return left if left is not None and left < size else size // 2

    async def _asked_in_parts(
        self, question: Question, most_bytes: int, document_usage: DocumentUsage, terms: _Terms
    ) -> PaidStep:
        """Ask about each part, and put the answers together."""
        step, parts = question.step, question.about_parts(most_bytes)
        terms.parts_left -= len(parts)
        if terms.parts_left < 0:
            raise _too_large(step, f"it would take more than {_MOST_PARTS} parts")
        once = list({part.text: part for part in parts}.values())
        await self._reserve(terms.cost_limit, once, instead_of=question)
        answers = await _side_by_side(
            {
                f"part:{step.name}:{number}": partial(self._paid, part, document_usage, terms)
                for number, part in enumerate(once)
            }
        )
        by_text = {part.text: answer for part, answer in zip(once, answers, strict=True)}
        said = [by_text[part.text] for part in parts]
        outputs = {task.name: together(task, [one.outputs[task.name] for one in said]) for task in step.tasks}
        models = {name: model for one in said for name, model in one.models.items()}
        if len(said) > 1:
            condensed = await _side_by_side(
                {
                    f"condense:{step.name}:{number}": partial(
                        self._condensed, condensing, said, len(question.text), document_usage, terms
                    )
                    for number, condensing in enumerate(_condensing(step))
                }
            )
            for one in condensed:
                outputs |= one.outputs
                models |= one.models
        return PaidStep(outputs=outputs, models=models)

    async def _condensed(
        self,
        condensing: Condensing,
        said: Sequence[PaidStep],
        characters: int,
        document_usage: DocumentUsage,
        terms: _Terms,
    ) -> PaidStep:
        """Ask the same about what was said of the parts: of the first, of the last and of all between them apart."""
        plan = condensing.plans[min(len(said), len(condensing.plans)) - 1]
        prose = ["\n\n".join(one.outputs[name] for name in condensing.tasks) for one in said]
        texts = ["\n\n".join(run) for run in runs(prose, len(plan))]
        if max(map(len, texts)) >= characters:
            raise _too_large(plan[0], "what was said of its parts is no shorter than the document itself")
        shares = [Question(step, text) for step, text in zip(plan, texts, strict=True)]
        await self._reserve(terms.cost_limit, shares)
        afresh = replace(terms, parts_left=_MOST_PARTS)  # otherwise the cost of the parts would be wasted
        paid = await _side_by_side(
            {
                f"condense:{share.step.name}:{number}": partial(self._paid, share, document_usage, afresh)
                for number, share in enumerate(shares)
            }
        )
        if len(paid) == 1:
            return paid[0]
        outputs = {
            tasks[0].name: in_line(tasks, [one.outputs[tasks[0].name] for one in paid])
            for tasks in zip(*(share.tasks for share in plan), strict=True)
        }
        return PaidStep(outputs=outputs, models=paid[0].models)


def _condensing(step: Step) -> tuple[Condensing, ...]:
    """A condensing step that is too large for one call is asked once more, and not shared out again."""
    if not step.condensing and all(task.output.type == "text" for task in step.tasks):
        return (Condensing(tasks=tuple(task.name for task in step.tasks), plans=((step,),)),)
    return step.condensing


def _too_large(step: Step, message: str) -> RecordRejected:
    return rejected(DeadLetterReason.TOO_LARGE, message, step.request(""), cause=message)


async def _side_by_side(work: dict[str, Callable[[], Awaitable[PaidStep]]]) -> list[PaidStep]:
    """Run all work to its end, in its order. A rejection is raised only when the others are done."""

    async def to_the_end(one: Callable[[], Awaitable[PaidStep]]) -> PaidStep | RecordRejected:
        try:
            return await one()
        except RecordRejected as rejection:
            return rejection

    if len(work) == 1:
        (alone,) = work.values()
        return [await alone()]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(to_the_end(one), name=name) for name, one in work.items()]
    except ExceptionGroup as faults:
        fault = next((f for f in faults.exceptions if isinstance(f, ServiceFault)), faults.exceptions[0])
        raise fault from fault.__cause__  # and not from the group, which has nothing to add
    answers: list[PaidStep] = []
    for task in tasks:
        ended = task.result()
        if isinstance(ended, RecordRejected):
            raise ended
        answers.append(ended)
    return answers
