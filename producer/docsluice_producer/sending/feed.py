"""Reads rows in a thread, so that a slow pipe holds back no acknowledgement."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator

from docsluice.documents.rows import Document, Row

_ROWS = 1_000
_BYTES = 16 * 1024 * 1024


class Feed:
    """An asynchronous iterator over rows that a thread reads, at most 1,000 rows or 16 MiB ahead.

    It ends with the rows, or with `close`. That also ends the thread, unless it waits for input. Errors of the reading
    are raised here. Create and use it in one event loop.
    """

    def __init__(self, *, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._changed = threading.Condition()
        self._ahead: deque[Row] = deque()
        self._ahead_bytes = 0
        self._ended = False
        self._closed = False
        self._failure: Exception | None = None
        # A daemon: nothing can end a thread that waits for input.
        self._thread = threading.Thread(target=self._pump, name="read-rows", daemon=True)
        self._thread.start()

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> Row:
        while True:
            with self._changed:
                if self._ahead and not self._closed:
                    return self._take()
                if self._ended or self._closed:
                    break
                self._arrived.clear()
            await self._arrived.wait()
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    def close(self) -> None:
        """End the iteration, and drop what was read ahead."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._arrived.set()

    def _take(self) -> Row:
        row = self._ahead.popleft()
        self._ahead_bytes -= _size(row)
        self._changed.notify()
        return row

    def _pump(self) -> None:
        try:
            for row in self._rows:
                with self._changed:
                    self._changed.wait_for(self._has_room)
                    if self._closed:
                        return
                    self._ahead.append(row)
                    self._ahead_bytes += _size(row)
                    first = len(self._ahead) == 1
                if first:
                    self._wake()
        except Exception as error:  # noqa: BLE001 - it is raised again in the loop that reads us
            self._failure = error
        finally:
            self._ended = True
            self._wake()

    def _has_room(self) -> bool:
        return self._closed or not self._ahead or (len(self._ahead) < _ROWS and self._ahead_bytes < _BYTES)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:
            # The loop has closed, and nobody waits any more.
            return


def _size(row: Row) -> int:
    return len(row.value) if isinstance(row, Document) else 0
