"""`docsluice-producer dead-letters show`: all there is to know about one."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from producer.dead_letters.counts import NONE
from producer.dead_letters.document import event_of, header_texts, text_of
from producer.dead_letters.letter import Letter, errors_of
from producer.dead_letters.marks import place_in
from producer.dead_letters.question import Question, letters_for_looking
from producer.exits import Exit
from producer.following.display import console
from producer.printable import counted, printable, printable_lines, usd
from producer.stopping import stop_on_signals

_SHOWN_CHARACTERS = 2_000
_OTHERS_NAMED = 10
_TRACE = "exception.stacktrace"


async def show(question: Question, name: str) -> int:
    """Show the dead letter at a place, or the newest one of a document; return the exit code.

    Raises:
        BrokerAway, BrokerRefused: as `letters_for_looking`.
    """
    status, out = console(stderr=True), console()
    place = place_in(name)
    wanted = replace(question.wanted, document_id=None if place else name, handled_too=True)
    newest: Letter | None = None
    others: deque[str] = deque(maxlen=_OTHERS_NAMED)
    with question.link(status.print) as link:
        async with letters_for_looking(replace(question, wanted=wanted, place=place), link) as letters:
            with stop_on_signals(lambda: None) as stop:
                async for letter in letters.until(lambda: stop.signal is not None):
                    if newest is not None:
                        others.append(f"{newest.place} ({newest.state})")
                    newest = letter
    if stop.exit_code is not None:
        return stop.exit_code
    if newest is None:
        what = f"at {name}" if place else f"of a document {name!r}"
        status.print(printable(f"there is no dead letter {what} in {question.topic}"))
        return Exit.FAULT
    for line in _lines(newest, question.topic, bounded=out.is_terminal):
        out.print(line)
    if others:
        status.print(f"earlier ones of this document: {', '.join(others)}")
    return Exit.DONE


def _lines(letter: Letter, topic: str, *, bounded: bool) -> Iterator[str]:
    outcome, record = letter.outcome, letter.record
    errors = errors_of(record)
    yield f"{printable(outcome.document_id)}  {letter.place} of {topic}, {letter.state}"
    where = " ".join(filter(None, ("at", outcome.stage, outcome.step))) if outcome.stage else ""
    yield printable(f"{outcome.reason} {where}: {outcome.message}")
    calls = outcome.fields["attempts"]
    spoken = f"{NONE} calls" if calls is None else counted(calls, "call")
    yield (
        f"failed {outcome.finished_at:%Y-%m-%d %H:%M:%S} UTC after {spoken} in its last run;"
        f" {usd(outcome.cost_usd)} in all of its runs, sent again {counted(letter.replays, 'time')}"
    )
    yield ""
    yield "headers"
    for name, text in header_texts(record.headers).items():
        if not name.endswith(_TRACE):
            yield f"  {printable(name)}: {printable(text)}"
    if errors.get(_TRACE):
        yield ""
        yield "stack trace"
        yield from (f"  {line}" for line in printable_lines(errors[_TRACE]))
    yield ""
    yield from _document(letter, topic, bounded=bounded)


def _document(letter: Letter, topic: str, *, bounded: bool) -> Iterator[str]:
    value, text = letter.record.value, event_of(letter).get("text")
    if isinstance(text, str):
        yield f"document ({counted(len(text), 'character')})"
    else:
        text = text_of(value)
        if text is None:
            size = f"{len(value):,} bytes that are no UTF-8" if value is not None else "none"
            yield f"value: {size}; `export` writes it as value_base64"
            return
        yield f"value, which is no document ({counted(len(text), 'character')})"
    shown = text[:_SHOWN_CHARACTERS] if bounded else text
    yield from (f"  {line}" for line in printable_lines(shown))
    if len(text) > len(shown):
        yield (
            f"  … and {counted(len(text) - len(shown), 'character')} more; all of it:"
            f" docsluice-producer dead-letters export --all --id {printable(letter.outcome.document_id)}"
            f" --dead-letter-topic {topic} --to FILE.jsonl"
        )
