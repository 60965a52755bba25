"""The rejection of a document by a call, with what the model said."""

from __future__ import annotations

from dataclasses import replace

from docsluice.messages import DeadLetterReason
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.llm.finish_reasons import CONTENT_FILTER, LENGTH


def rejected(
    reason: DeadLetterReason,
    message: str,
    request: ChatRequest,
    *,
    answer: str | None = None,
    cause: str | None = None,
) -> RecordRejected:
    """The rejection of a document by a call about it, with the answer that led to it. `cause` is fit for the log."""
    return RecordRejected(reason, message, step=request.step, model=request.model, answer=answer, cause=cause)


def rejection_of(request: ChatRequest, answer: Answer) -> RecordRejected | None:
    """The rejection for a completion without an answer. None for any other."""
    if answer.refusal:
        reason, why = DeadLetterReason.REFUSED, "the model refused to answer"
    elif answer.finish_reason == CONTENT_FILTER:
        reason, why = DeadLetterReason.CONTENT_FILTERED, "the provider's content filter cut the answer"
    elif answer.finish_reason == LENGTH:
        reason, why = DeadLetterReason.TRUNCATED, _why_cut(request, answer)
    else:
        return None
    return rejected(reason, why, request, answer=answer.refusal or answer.text, cause=why)


def rejection_if_used_up(request: ChatRequest, answer: Answer) -> RecordRejected | None:
    """The rejection for an answer that is not valid, and was cut though its server calls its end another."""
    bound = request.sampling.max_output_tokens
    if bound is None or answer.usage is None or answer.usage.output_tokens != bound:
        return None
    return rejection_of(request.to(answer.model or request.model), replace(answer, finish_reason=LENGTH))


def _why_cut(request: ChatRequest, answer: Answer) -> str:
    bound = request.sampling.max_output_tokens or "the model's own bound"
    thinking = answer.usage.reasoning_tokens if answer.usage else 0
    spent = f"; {thinking} tokens of it went into thinking" if thinking else ""
    return f"the answer was cut at max_output_tokens ({bound}){spent}"
