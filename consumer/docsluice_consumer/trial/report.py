"""A trial for people: what was sent, answered and read, and variants side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import takewhile
from typing import Any

from docsluice.messages import OutputValue, Usage, plain_decimal
from docsluice.text.printable import counted, shortened
from docsluice_consumer.llm.chat import Message
from docsluice_consumer.trial.calls import Call
from docsluice_consumer.trial.layout import GUTTER, MOST_LINES, block, parameters_line
from docsluice_consumer.trial.trial import Ending
from docsluice_consumer.trial.variants import Variant

_FROM_STORE = "(answered before, and taken from the store: --fresh asks again)"
_PASSED_OVER = "passed over by input.when"


def lines_of(endings: Sequence[Ending], *, width: int, whole: bool) -> Iterator[str]:
    """The documents of one variant: each call, and what was read of them.

    Turns that were shown for the same step are not shown again. Long texts are cut, unless `whole`.
    """
    shown_turns: dict[str, Sequence[Message]] = {}
    for ending in endings:
        yield from _document_lines(ending, shown_turns, width=width, most=None if whole else MOST_LINES)


def _document_lines(
    ending: Ending, shown_turns: dict[str, Sequence[Message]], *, width: int, most: int | None
) -> Iterator[str]:
    yield f"── {shortened(ending.document_id, width - 4)}"
    first: dict[str, Call] = {}
    for call in ending.calls:
        step = call.request.step
        yield ""
        yield f"{step} ─► {call.request.model}{_why_again(call, first.setdefault(step, call))}"
        yield from _call_lines(call, shown_turns.get(step, ()), width=width, most=most)
        shown_turns[step] = call.turns
    yield ""
    yield from _read_lines(ending, width=width)
    if ending.calls:
        yield f"{'':{GUTTER}}{_sum_of(ending)}"
    yield ""


def _call_lines(call: Call, before: Sequence[Message], *, width: int, most: int | None) -> Iterator[str]:
    turns = call.turns
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(turns, before, strict=False)))
    if common:
        yield from block("", f"({counted(common, 'turn')} as above)", width=width, most=most)
    for turn in turns[common:]:
        yield from block(turn.role, turn.content, width=width, most=most)
    yield from block("with", parameters_line(call.parameters), width=width, most=most)
    for refused in range(len(call.sent) - 1):
        yield from block("", f"(sent {refused + 1} times before, with what the server does not know)", width=width)
    if call.answer is not None:
        yield from block("answer", call.answer.text or "(empty)", width=width, most=most)
        if call.answer.finish_reason != "stop":
            yield from block("", f"(ended by: {call.answer.finish_reason})", width=width)
        yield from block("", f"{_tokens(call.usage)}, {call.seconds:.1f} s", width=width)
    else:
        yield from block("failed", f"{call.fault} (after {call.seconds:.1f} s)", width=width, most=most)


def _why_again(call: Call, first: Call) -> str:
    if call is first:
        return ""
    if call.request.is_roomier:
        return ", with more room for the answer"
    return ", a repair" if len(call.turns) > len(first.turns) else ", once more"


def _read_lines(ending: Ending, *, width: int) -> Iterator[str]:
    if ending.is_passed_over:
        yield _PASSED_OVER
    elif ending.result is None:
        yield f"dead letter: {ending.reason}"
        yield from block("", ending.message, width=width)
    else:
        asked = ending.asked
        for task, value in ending.result.outputs.items():
            yield from block(task, shown(value), width=width)
            if task not in asked:
                yield f"{'':{GUTTER}}{_FROM_STORE}"


def table_of(variants: Sequence[Variant], endings: Sequence[Ending]) -> Iterator[Sequence[str]]:
    """One document in all variants, as rows of cells: a head, a row a task, and what it took."""
    yield ("", *(variant.name for variant in variants))
    tasks = dict.fromkeys(task for one in endings if one.result for task in one.result.outputs)
    for task in tasks:
        yield (task, *(shown(one.result.outputs.get(task)) if one.result else "" for one in endings))
    if any(one.result is None for one in endings):
        yield ("ended as", *(_ended_as(one) for one in endings))
    yield ("tokens", *(_tokens(usage_of(one)) for one in endings))
    yield ("dollars", *(plain_decimal(one.cost_usd) for one in endings))
    yield ("seconds", *(f"{one.seconds:.1f}" if one.calls else "from the store" for one in endings))


def _ended_as(ending: Ending) -> str:
    if ending.result is not None:
        return "result"
    return _PASSED_OVER if ending.is_passed_over else f"dead letter: {ending.reason}: {ending.message}"


def total_of(variant: Variant, endings: Sequence[Ending]) -> str:
    """What a variant took over all documents, in one line."""
    calls = sum(len(one.calls) for one in endings)
    usage = sum((usage_of(one) for one in endings), Usage())
    cost = sum((one.cost_usd for one in endings), Decimal(0))
    stored = sum(1 for one in endings if one.result is not None and not one.calls)
    failed = sum(1 for one in endings if one.reason)
    parts = [counted(len(endings), "document"), counted(calls, "call"), _tokens(usage), f"${plain_decimal(cost)}"]
    parts += [f"{stored} from the store"] if stored else []
    parts += [counted(failed, "dead letter")] if failed else []
    return f"{variant.name}: {', '.join(parts)}"


def usage_of(ending: Ending) -> Usage:
    """The tokens that the document took now."""
    return sum((call.usage for call in ending.calls), Usage())


def shown(value: OutputValue | None) -> str:
    """An answer as people read it: a list with commas, an object as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False)


def _sum_of(ending: Ending) -> str:
    return f"{_tokens(usage_of(ending))}, ${plain_decimal(ending.cost_usd)}, {ending.seconds:.1f} s"


def _tokens(usage: Usage) -> str:
    return f"{usage.input_tokens:,} tokens in and {usage.output_tokens:,} out"


def fields_of(variant: Variant, ending: Ending) -> dict[str, Any]:
    """One document in one variant, as plain JSON."""
    result = ending.result
    return {
        "document_id": ending.document_id,
        "models": list(variant.models),
        "mode": variant.mode,
        "outcome": "result" if result else "skipped" if ending.is_passed_over else "dead_letter",
        "outputs": result.outputs if result else None,
        "reason": ending.reason or None,
        "message": ending.message or None,
        "calls": [_call_fields(call) for call in ending.calls],
        "cost_usd": plain_decimal(ending.cost_usd),
        "seconds": round(ending.seconds, 3),
    }


def _call_fields(call: Call) -> dict[str, Any]:
    return {
        "step": call.request.step,
        "model": str(call.request.model),
        "messages": [{"role": turn.role, "content": turn.content} for turn in call.turns],
        "parameters": dict(call.parameters),
        "requests": len(call.sent),
        "answer": call.answer.text if call.answer else None,
        "finish_reason": call.answer.finish_reason if call.answer else None,
        "fault": call.fault or None,
        "input_tokens": call.usage.input_tokens,
        "output_tokens": call.usage.output_tokens,
        "cached_tokens": call.usage.cached_tokens,
        "seconds": round(call.seconds, 3),
    }
