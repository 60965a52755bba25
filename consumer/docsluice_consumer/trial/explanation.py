"""What a pipeline file makes of its tasks, and what a change of it means for answers that are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from docsluice.messages import Usage, plain_decimal
from docsluice.text.printable import counted
from docsluice_consumer.llm.chat import Message
from docsluice_consumer.llm.pricing import Prices
from docsluice_consumer.llm.request_body import body_of
from docsluice_consumer.llm.token_estimator import USUAL_BYTES_PER_TOKEN
from docsluice_consumer.tasks.steps import Step
from docsluice_consumer.trial.layout import MOST_LINES, block, parameters_line
from docsluice_consumer.trial.variants import Variant

_A_THOUSAND = 1000
_LONG = {
    "reject": "becomes a dead letter",
    "head": "is asked about by its beginning",
    "split": "is asked about in parts, and the answers are put together",
}


def explanation_of(
    variant: Variant, steps: Sequence[Step], prices: Prices, *, width: int, whole: bool
) -> Iterator[str]:
    """The calls for one document, each with all that is sent but the document."""
    most = None if whole else MOST_LINES
    version = variant.file.version(mode=variant.mode, default_model=variant.settings.model)
    yield f"{variant.file.name}, version {version}: {counted(len(steps), 'call')} a document ({variant.mode})"
    for step in steps:
        request = step.request("(the document)")
        yield ""
        yield f"{step.name} ─► {', or if it fails '.join(map(str, step.models))}"
        for turn in request.messages:
            yield from block(turn.role, turn.content, width=width, most=most)
        body = body_of(request, without=frozenset())
        parameters = {name: value for name, value in body.items() if name not in {"model", "messages"}}
        yield from block("with", parameters_line(parameters), width=width, most=most)
        yield from block("costs", _own_cost(step, request.messages[:-1], prices), width=width)
        yield from block("too long", f"a document too large for one call {_LONG[step.long]}", width=width)


def _own_cost(step: Step, turns: Sequence[Message], prices: Prices) -> str:
    """What the turns before the document take. A provider counts in its own way, so it is a rough number."""
    tokens = round(sum(len(turn.content.encode()) for turn in turns) / USUAL_BYTES_PER_TOKEN)
    said = f"about {tokens:,} tokens of its own, and the document on top"
    usd = prices.cost_usd(step.model, Usage(input_tokens=tokens * _A_THOUSAND))
    return f"{said}: ${plain_decimal(usd)} for 1,000 documents" if usd else f"{said}; no price is known"


def change_of(before: Sequence[Step], after: Sequence[Step]) -> Iterator[str]:
    """What a new file means for documents that were answered under an older one: a line for each step."""
    known = {_question(step) for step in before}
    for step in after:
        tasks = ", ".join(task.name for task in step.tasks)
        if _question(step) in known:
            yield f"{tasks}: as before. Answers come from the store"
        else:
            yield f"{tasks}: asked in another way. Every document that is read again needs a new call"


def _question(step: Step) -> tuple[tuple[str, str], tuple[str, ...]]:
    """All that shapes an answer beside the document."""
    return step.asked, step.servers
