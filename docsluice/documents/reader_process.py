"""A process that reads files with foreign code: one that crashes, hangs or eats memory ends only itself.

It reads requests from its standard input and writes entries to its standard output, a line of JSON each. It ends with
its input, so it never outlives the sender for longer than one entry may take.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, astuple
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from docsluice.documents.encoding import in_utf_8
from docsluice.documents.entries import Entry, ReadOptions, Unreadable
from docsluice.documents.kinds import Format, reader_of

SECONDS = 60
"""What one entry may take."""
MEMORY_BYTES = 2 * 1024**3
"""Address space. Four times what an Office file may unfold to."""
_BUFFER_BYTES = 128 * 1024
_END = b"null\n"


class ReaderProcess:
    """The sender's side. The process starts with the first file, and anew after it was ended."""

    def __init__(self, *, seconds: int = SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._limits = (str(seconds), str(memory_bytes))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, path: Path, form: Format, options: ReadOptions, *, after: int) -> Iterator[Entry]:
        """Yield the entries of a file behind position `after`. See `Reader`.

        Raises:
            Unreadable: the reader says so, or it had to be ended.
        """
        process = self._process or self._start()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        request = {"path": os.fsdecode(path), "format": form, "after": after, "options": asdict(options)}
        is_read = False
        try:
            with suppress(BrokenPipeError):  # what it died of is told below
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            while (line := process.stdout.readline()) != _END:
                if not line.endswith(b"\n"):
                    raise Unreadable(self._cause_of_death())
                found = json.loads(line)
                if isinstance(found, str):
                    is_read = process.stdout.readline() == _END
                    raise Unreadable(found)
                yield Entry(**dict(zip(Entry.__slots__, found, strict=True)))
            is_read = True
        finally:
            if not is_read:  # what it still writes would be taken for the next file's
                self.close()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self) -> "subprocess.Popen[bytes]":
        # A session of its own: Ctrl-C is for the sender, which ends in order. And -P: a json.py in the working folder
        # may be a file to send, and is no module to run.
        self._process = subprocess.Popen(  # noqa: S603 - this very module
            [sys.executable, "-P", "-m", "docsluice.documents.reader_process", *self._limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=_BUFFER_BYTES,
            start_new_session=True,
        )
        return self._process

    def _cause_of_death(self) -> str:
        process, self._process = self._process, None
        code = process.wait() if process is not None else 0
        if process is not None:
            process.communicate()
        if code == -signal.SIGALRM:
            return f"its reader was stopped after {self._limits[0]} s"
        died = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"its reader crashed ({died}): the file is damaged, or needs more memory than there is"


def main(seconds: int, memory_bytes: int) -> None:
    """The process's side: read files until there are no more requests."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(ValueError, OSError):  # a lower limit is there already
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, most))
    # A library that prints must not write among the entries.
    with os.fdopen(os.dup(1), "wb", buffering=_BUFFER_BYTES) as out:
        os.dup2(2, 1)
        for line in sys.stdin.buffer:
            _answer(json.loads(line), out, seconds=seconds)


def _answer(request: dict[str, Any], out: IO[bytes], *, seconds: int) -> None:
    """Write the entries, perhaps a sentence that says why there are no more, and the end."""
    signal.alarm(seconds)
    try:
        for entry in _entries(request):
            signal.alarm(0)  # the sender may take its time
            out.write(json.dumps(astuple(entry)).encode() + b"\n")
            signal.alarm(seconds)
    except MemoryError:
        out.write(
            _problem(f"it needs more than {resource.getrlimit(resource.RLIMIT_AS)[0] // 1024**2:,} MiB of memory")
        )
    except (Unreadable, OSError) as error:
        out.write(_problem(str(error)))
    except Exception as error:  # noqa: BLE001 - of foreign code
        out.write(_problem(f"it is damaged, or its reader cannot read it ({type(error).__name__})"))
    signal.alarm(0)
    out.write(_END)
    out.flush()


def _entries(request: dict[str, Any]) -> Iterator[Entry]:
    options = ReadOptions(**request["options"])
    with open(request["path"], "rb", buffering=_BUFFER_BYTES) as file:  # noqa: PTH123 - it may be no UTF-8
        text = in_utf_8(file, options.encoding) if options.encoding else cast("BufferedReader", file)
        yield from reader_of(Format(request["format"]))(text, options, after=request["after"])


def _problem(sentence: str) -> bytes:
    return json.dumps(sentence).encode() + b"\n"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
