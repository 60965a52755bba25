"""`docsluice dead-letters show`: everything about one dead letter."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from docsluice.messages import ERROR_HEADER_PREFIX, DeadLetterReason
from docsluice.outcomes.outcome import errors_of
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.numbers import counted, printable, printable_lines, usd
from docsluice_producer.command_line.stop_signals import stop_on_signals
from docsluice_producer.dead_letters.counts import NONE
from docsluice_producer.dead_letters.document import ANSWER, TRACE, event_of, text_of, texts_without_trace
from docsluice_producer.dead_letters.letter import Letter, place_of, source_in
from docsluice_producer.dead_letters.marks import place_in
from docsluice_producer.dead_letters.query import DeadLetterQuery, letters_for_looking
from docsluice_producer.dead_letters.selection import Wanted
from docsluice_producer.dead_letters.stub import stub_of
from docsluice_producer.following.display import console

_SHOWN_CHARACTERS = 2_000
_OTHERS_NAMED = 10


async def show(query: DeadLetterQuery, name: str, *, with_trace: bool) -> int:
    """Show the dead letter at a place, or the newest one of a document or a source place.

    Returns the exit code.

    Raises:
        BrokerAway, BrokerRefused: as `letters_for_looking`.
    """
    status, out = console(stderr=True), console()
    source, found = source_in(name), _Found(wanted=query.wanted)
    place = place_of(source, topic=query.topic) if source else place_in(name)
    # Reason and step are checked afterwards, so that a message can name those of a letter that they exclude.
    wanted = Wanted(document_id=None if place else name, source=source, handled_too=True)
    async with letters_for_looking(replace(query, wanted=wanted, place=place), status.print) as letters:
        with stop_on_signals(lambda: None) as stop:
            async for letter in letters.until(lambda: stop.signal is not None):
                found.add(letter)
    if stop.exit_code is not None:
        return stop.exit_code
    if found.newest is None:
        of_that = f"of the record {source}" if source else f"of a document {name!r}"
        status.print(printable(found.nothing(f"at {name}" if place else of_that, topic=query.topic)))
        return Exit.FAULT
    for line in _lines(found.newest, query.topic, bounded=out.is_terminal, with_trace=with_trace):
        out.print(line)
    if found.earlier:
        status.print(f"earlier ones of this document: {', '.join(found.earlier)}")
    return Exit.DONE


class _Found:
    """The newest wanted letter, the places of earlier ones, and one of another reason or step."""

    def __init__(self, *, wanted: Wanted) -> None:
        self.newest: Letter | None = None
        self.earlier: deque[str] = deque(maxlen=_OTHERS_NAMED)
        self._wanted = wanted
        self._left_out: Letter | None = None

    def add(self, letter: Letter) -> None:
        """Add a letter. They come oldest first."""
        if not self._wanted.fits(letter):
            self._left_out = letter
            return
        if self.newest is not None:
            self.earlier.append(f"{self.newest.place} ({self.newest.state})")
        self.newest = letter

    def nothing(self, what: str, *, topic: str) -> str:
        """The message that there is none."""
        if self._left_out is None:
            return f"there is no dead letter {what} in {topic}"
        outcome = self._left_out.outcome
        there = f"reason {outcome.reason}" + (f", step {outcome.step}" if outcome.step else "")
        asked = "of the reason or step that was asked for"
        return f"no dead letter {what} in {topic} is {asked}; there is one of {there}: {self._left_out.place}"


def _lines(letter: Letter, topic: str, *, bounded: bool, with_trace: bool) -> Iterator[str]:
    outcome, record = letter.outcome, letter.record
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
    yield from _document(letter, topic, bounded=bounded)
    errors = errors_of(record)
    if answer := errors.get(ANSWER):
        yield ""
        yield f"rejected answer ({counted(len(answer), 'character')})"
        yield from (f"  {line}" for line in printable_lines(answer))
    yield ""
    yield "headers"
    shown_above = ERROR_HEADER_PREFIX + ANSWER
    headers = {name: text for name, text in texts_without_trace(record.headers).items() if name != shown_above}
    yield from (f"  {printable(name)}: {printable(text)}" for name, text in headers.items())
    if trace := errors.get(TRACE):
        yield ""
        yield from _trace(trace, is_shown=with_trace or outcome.reason == DeadLetterReason.UNEXPECTED)


def _trace(trace: str, *, is_shown: bool) -> Iterator[str]:
    if not is_shown:
        # If the reason is the document's own, the place in our code does not help.
        yield "stack trace: --trace shows it"
        return
    yield "stack trace"
    yield from (f"  {line}" for line in printable_lines(trace))


def _document(letter: Letter, topic: str, *, bounded: bool) -> Iterator[str]:
    if (stub := stub_of(letter)) is not None:
        yield stub.sentence
        if "value" in stub.left_out:
            return
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
            f" docsluice dead-letters export --all --id {printable(letter.outcome.document_id)}"
            f" --dead-letter-topic {topic} --to FILE.jsonl"
        )
