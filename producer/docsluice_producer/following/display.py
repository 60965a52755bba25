"""Outcomes and totals as a person reads them."""

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.text import Text

from docsluice.messages import Long, Usage
from docsluice.outcomes.outcome import Outcome, Unreadable
from docsluice_producer.command_line.numbers import counted, printable, shortened, usd
from docsluice_producer.following.columns import cell
from docsluice_producer.following.money import left_out
from docsluice_producer.following.tally import Spent, Tally

_MESSAGE_CHARACTERS = 300
_NAME_CHARACTERS = 40
_TENTHS_FROM_SECONDS = 10
_OF_LONG: Mapping[Long, str] = {"split": "split", "head": "head only"}


def console(*, stderr: bool = False, soft_wrap: bool = True) -> Console:
    """A console that prints foreign text as it is: no markup, no emoji codes, and with `soft_wrap` no cut lines."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)


def outcome_text(outcome: Outcome) -> Text:
    """A few lines: the document, its outputs or what went wrong, what it cost."""
    return _dead_letter(outcome) if outcome.is_dead_letter else _result(outcome)


def repeat_text(outcome: Outcome) -> Text:
    """One dim line: seen before."""
    return Text(f"{printable(outcome.document_id)}  seen before: dropped", style="dim")


def unreadable_text(unreadable: Unreadable) -> Text:
    """One line: a record that is no outcome."""
    return Text(printable(f"{unreadable.where}: {unreadable.problem}"), style="yellow")


def totals_text(tally: Tally) -> str:
    """The closing lines. The last two are the totals."""
    usage = tally.usage
    counts = [counted(tally.results, "result"), counted(tally.dead_letters, "dead letter") + _by_reason(tally)]
    counts += [f"{counted(tally.repeats, 'repeat')} dropped"] if tally.repeats else []
    counts += [counted(tally.unreadable, "unreadable record")] if tally.unreadable else []
    counts += [f"{tally.of_other_versions:,} of another schema version"] if tally.of_other_versions else []
    output = f"{usage.output_tokens:,} out{_thought(usage)}"
    spent = [
        f"tokens: {usage.input_tokens:,} in ({usage.cached_tokens:,} cached), {output}",
        f"cost: {usd(tally.cost_usd)}{left_out(tally.costs_left_out)}",
    ]
    spent += [f"saved: {usd(tally.saved_usd)}"] if tally.saved_usd else []
    rate = tally.documents_per_hour
    spent += [f"{rate:,.0f} documents an hour"] if rate is not None else []
    lines = [
        *_spent(tally.by_model, "model"),
        *_spent(tally.spent_by_task, "task"),
        *_by_task(tally),
        *_durations(tally),
        ", ".join(counts),
        " · ".join(spent),
    ]
    return "\n".join(lines)


def time_up_text(tally: Tally, *, until: int | None, seconds: float) -> str:
    """One line: the time was up, and what had come by then."""
    came = counted(tally.documents, "document") if until is None else f"{tally.documents:,} of {until:,} documents"
    return f"the time of {seconds:g} s is up: {came} had ended"


def waiting_text(remaining: int, *, topic: str, group_id: str) -> str:
    """One line: what is waited for."""
    return f"group {group_id} has {counted(remaining, 'record')} of {topic} to go"


def _durations(tally: Tally) -> Iterator[str]:
    p50, p95 = tally.durations.quantile(0.5), tally.durations.quantile(0.95)
    if p50 is not None and p95 is not None:
        yield f"seconds a result: p50 {_seconds(p50)}, p95 {_seconds(p95)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < _TENTHS_FROM_SECONDS else f"{seconds:,.0f}"


def _spent(by_name: Mapping[str, Spent], title: str) -> Iterator[str]:
    """A table of models or tasks, the dearest first."""
    rows: list[tuple[str, ...]] = [(title, "results", "tokens in", "tokens out", "cost")]
    for name, spent in sorted(by_name.items(), key=lambda item: item[1].cost_usd, reverse=True):
        usage = spent.usage
        counts = (f"{number:,}" for number in (spent.documents, usage.input_tokens, usage.output_tokens))
        rows.append((shortened(printable(name), _NAME_CHARACTERS), *counts, usd(spent.cost_usd)))
    if len(rows) == 1:
        return
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *figures in rows:
        padded = (figure.rjust(width) for figure, width in zip(figures, widths, strict=True))
        yield f"{name.ljust(first)}  {'  '.join(padded)}"


def _by_task(tally: Tally) -> Iterator[str]:
    """The tasks that more than one model has answered, as behind a chain of models."""
    tasks: dict[str, list[str]] = {}
    for (task, model), answers in tally.by_task.most_common():
        tasks.setdefault(task, []).append(f"{printable(model)} {answers:,}")
    for task, told in tasks.items():
        if len(told) > 1:
            yield f"{printable(task)}: {', '.join(told)}"


def _by_reason(tally: Tally) -> str:
    if not tally.reasons:
        return ""
    return f" ({', '.join(f'{printable(reason)} {count:,}' for reason, count in tally.reasons.most_common())})"


def _result(outcome: Outcome) -> Text:
    usage = outcome.usage
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    text = Text()
    text.append(printable(outcome.document_id), style="bold")
    told = [f"{usage.input_tokens:,}{cached} → {usage.output_tokens:,}{_thought(usage)} tokens", usd(outcome.cost_usd)]
    told += [f"saved {usd(outcome.saved_usd)}"] if outcome.saved_usd else []
    text.append("".join(f"  {one}" for one in [*told, *_of_long(outcome)]), style="dim")
    for name, value in outcome.outputs.items():
        text.append(f"\n  {printable(name)}: ", style="cyan")
        text.append(printable(cell(value)))
    return text


def _thought(usage: Usage) -> str:
    """The thinking part of the output. Empty if there is none."""
    return f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""


def _of_long(outcome: Outcome) -> Iterator[str]:
    """What was done about a document too large for one call, with the tasks, unless it was all of them."""
    for how, words in _OF_LONG.items():
        tasks = [task for task in outcome.long if outcome.long[task] == how]
        if tasks:
            yield words if outcome.outputs.keys() <= set(tasks) else f"{words} ({printable(', '.join(tasks))})"


def _dead_letter(outcome: Outcome) -> Text:
    where = f"{outcome.stage} {outcome.step}".strip()
    message = shortened(printable(outcome.message), _MESSAGE_CHARACTERS)
    text = Text(style="red")
    text.append(printable(outcome.document_id), style="bold")
    text.append(f"  dead letter: {printable(outcome.reason)}" + (f" at {printable(where)}" if where else ""))
    text.append(f"\n  {message}" if message else "")
    return text
