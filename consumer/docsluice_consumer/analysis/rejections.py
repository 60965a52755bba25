"""The rejection of a document by a call, with what the model said."""

from __future__ import annotations

from docsluice.messages import DeadLetterReason
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.llm.chat import Answer, ChatRequest


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
    elif answer.finish_reason == "content_filter":
        reason, why = DeadLetterReason.CONTENT_FILTERED, "the provider's content filter cut the answer"
    elif answer.finish_reason == "length":
        reason, why = DeadLetterReason.TRUNCATED, _why_cut(request, answer)
    else:
        return None
    return rejected(reason, why, request, answer=answer.refusal or answer.text, cause=why)


def _why_cut(request: ChatRequest, answer: Answer) -> str:
    bound = request.sampling.max_output_tokens or "the model's own bound"
    thinking = answer.usage.reasoning_tokens if answer.usage else 0
    spent = f"; {thinking} tokens of it went into thinking" if thinking else ""
    return f"the answer was cut at max_output_tokens ({bound}){spent}"
