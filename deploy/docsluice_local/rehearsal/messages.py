"""The assistant's message: the answer to a call, or what a fault makes of it. Pure."""

import json
from dataclasses import dataclass

from docsluice_local.rehearsal import answers
from docsluice_local.rehearsal.chat import BYTES_PER_TOKEN, ChatCall
from docsluice_local.rehearsal.faults import Fault, Trouble
from docsluice_local.rehearsal.script import Script, scripted

_REFUSAL = "I'm sorry, but I can't help with that."


@dataclass(frozen=True, kw_only=True)
class AssistantMessage:
    """One choice of a completion. `thinking` is the reasoning before it."""

    content: str | None
    finish_reason: str = "stop"
    refusal: str | None = None
    thinking: str = ""


def write_message(
    call: ChatCall, *, seed: int, fault: Trouble | None, thinks: bool = False, script: Script | None = None
) -> AssistantMessage:
    """Answer the call. An answer longer than its output bound is cut, as a model's would be. Thinking comes first."""
    if fault is Fault.REFUSAL:
        return AssistantMessage(content=None, refusal=_REFUSAL)
    if fault is Fault.CONTENT_FILTER:
        return AssistantMessage(content="", finish_reason="content_filter")
    thinking = answers.sentence(text=call.document, seed=seed) if thinks else ""
    text = _text(call, seed=seed, spoiled=fault is Fault.WRONG_SCHEMA, script=script)
    if fault is Fault.INVALID_JSON:
        return AssistantMessage(content=f"Here is the answer: {text[:-1]}", thinking=thinking)
    written = text.encode()
    room = max(0, call.max_output_tokens * BYTES_PER_TOKEN - len(thinking.encode()))
    bound = len(written) // 2 if fault is Fault.TRUNCATED else room
    if len(written) > bound:
        cut = written[:bound].decode(errors="ignore")
        return AssistantMessage(content=cut, finish_reason="length", thinking=thinking)
    return AssistantMessage(content=text, thinking=thinking)


def _text(call: ChatCall, *, seed: int, spoiled: bool, script: Script | None) -> str:
    if call.schema is None:
        return "{}" if call.response_format == "json_object" else answers.sentence(text=call.document, seed=seed)
    value = answers.answer(call.schema, text=call.document, seed=seed)
    if script is not None:
        value = scripted(value, script, schema=call.schema, document=call.document)
    if spoiled:
        value = dict.fromkeys(value) if isinstance(value, dict) and value else {"unexpected": True}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
