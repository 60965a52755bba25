"""`docsluice dead-letters export`: dead letters as JSON lines, to be corrected and sent again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.command_line.stop_signals import stop_on_signals
from docsluice_producer.dead_letters.document import exported
from docsluice_producer.dead_letters.query import DeadLetterQuery, letters_for_looking
from docsluice_producer.following.display import console
from docsluice_producer.following.text_files import json_text, opened, translated


async def export(query: DeadLetterQuery, *, to: Path | None) -> int:
    """Write each dead letter to `to` (None: standard output), say how many, and return the exit code.

    Raises:
        NotWritten: the file cannot be written, or takes no more.
        BrokerAway, BrokerRefused: as `letters_for_looking`.
    """
    status = console(stderr=True)
    count = documents = 0
    async with letters_for_looking(query, status.print) as letters:
        with stop_on_signals(lambda: None) as stop, _lines(to) as write:
            async for letter in letters.until(lambda: stop.signal is not None):
                fields = exported(letter)
                write(json_text(fields))
                count += 1
                documents += "text" in fields
                if count == query.limit:
                    break
    totals = status if to is None else console()
    totals.print(f"exported {counted(count, 'dead letter')}, {counted(documents, 'document')} among them")
    for line in letters.selection.remarks:
        totals.print(line)
    return stop.exit_code or Exit.DONE


@contextmanager
def _lines(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield the function that writes a line. A file is replaced."""
    if path is None:
        yield lambda line: print(line, flush=True)
        return
    with translated(path):
        file = opened(path, "w")

    def write(line: str) -> None:
        with translated(path):
            file.write(line + "\n")

    try:
        yield write
        with translated(path):
            file.flush()
    finally:
        with suppress(OSError):
            file.close()
