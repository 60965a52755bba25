"""`docsluice-producer dead-letters export`: dead letters as JSON lines, to be mended and sent again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from producer.dead_letters.document import exported
from producer.dead_letters.question import Question, letters_for_looking
from producer.exits import Exit
from producer.faults import NotWritten
from producer.following.display import console
from producer.following.tables import json_text
from producer.printable import counted
from producer.stopping import stop_on_signals


async def export(question: Question, *, to: Path | None) -> int:
    """Write each dead letter to `to` (None: standard output), say how many, and return the exit code.

    Raises:
        NotWritten: the file cannot be written, or takes no more.
        BrokerAway, BrokerRefused: as `letters_for_looking`.
    """
    status = console(stderr=True)
    count = documents = 0
    with question.link(status.print) as link:
        async with letters_for_looking(question, link) as letters:
            with stop_on_signals(lambda: None) as stop, _lines(to) as write:
                async for letter in letters.until(lambda: stop.signal is not None):
                    fields = exported(letter)
                    write(json_text(fields))
                    count += 1
                    documents += "text" in fields
                    if count == question.limit:
                        break
    totals = status if to is None else console()
    totals.print(f"exported {counted(count, 'dead letter')}, {counted(documents, 'document')} among them")
    for line in letters.selection.remarks:
        totals.print(line)
    return stop.exit_code or Exit.DONE


@contextmanager
def _lines(path: Path | None) -> Iterator[Callable[[str], None]]:
    """What writes a line. A file is replaced."""
    if path is None:
        yield lambda line: print(line, flush=True)
        return
    with _translated(path):
        # It may hold half of a surrogate pair, which no UTF-8 can: that is written as the escape that JSON has.
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")

    def write(line: str) -> None:
        with _translated(path):
            file.write(line + "\n")

    try:
        yield write
        with _translated(path):
            file.flush()
    finally:
        with suppress(OSError):
            file.close()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written: {error.strerror}") from error
