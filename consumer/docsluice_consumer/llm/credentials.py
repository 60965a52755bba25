"""Where a provider's key comes from, and how it is read again when the provider no longer takes it."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from docsluice.text.api_keys import is_key_for_path, problem_of_key
from docsluice_consumer.errors import ProviderMisconfigured, ProviderUnavailable

_MOST_BYTES = 64 * 1024
_REFRESHED_AT_MOST_EVERY_SECONDS = 10.0


class Credentials(Protocol):
    """Gives the key for a call."""

    async def key(self) -> str | None:
        """The key to send. None if the server wants none.

        Raises:
            ProviderMisconfigured: there is no key as configured.
            ProviderUnavailable: there is no key now.
        """
        ...

    async def refresh(self) -> bool:
        """Look for another key, because this one was not accepted. Returns whether it has changed."""
        ...


class NoKey:
    """No key, for a server that wants none."""

    async def key(self) -> str | None:
        """None."""
        return None

    async def refresh(self) -> bool:
        """There is no other."""
        return False


class StaticKey:
    """A key from the settings."""

    def __init__(self, key: str, *, setting: str = "OPENAI_API_KEY") -> None:
        self._key = fit_for_a_header(key, source=setting)

    async def key(self) -> str | None:
        """The same each time."""
        return self._key

    async def refresh(self) -> bool:
        """There is no other."""
        return False


class FileKey:
    """A key in a file, which is read again when the file has changed."""

    def __init__(self, path: Path, *, setting: str = "api_key_file") -> None:
        self._path = path
        self.source = setting if is_key_for_path(str(path)) else f"{setting} {path}"  # a key set by mistake
        self._key: str | None = None
        self._read_at: tuple[int, int] | None = None

    async def key(self) -> str | None:
        """The file's content. While the file is being replaced, its earlier content."""
        try:
            await self._read_if_changed()
        except ProviderMisconfigured:
            if self._key is None:
                raise
        return self._key

    async def refresh(self) -> bool:
        """Read the file, whatever its modification time."""
        before, self._read_at = self._key, None
        return await self.key() != before

    async def _read_if_changed(self) -> None:
        try:
            found = self._path.stat()
            if (found.st_mtime_ns, found.st_ino) == self._read_at:
                return
            content = await asyncio.to_thread(self._read)
        except OSError as error:
            raise ProviderMisconfigured(f"the API key cannot be read ({self.source}): {error.strerror}") from None
        self._key = fit_for_a_header(content, source=self.source)
        self._read_at = (found.st_mtime_ns, found.st_ino)

    def _read(self) -> str:
        with self._path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8-sig", errors="replace")


class CommandKey:
    """A key that a command prints. It is run again when the key is refused.

    There is no shell: `command` is a program and its arguments. Its stderr is never shown, because it may hold
    anything.

    Raises:
        ProviderMisconfigured: from the constructor, if a quote mark in the command is not closed.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        *,
        setting: str = "api_key_command",
        timeout_seconds: float = 30.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            self._arguments = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise ProviderMisconfigured(f"the command for the API key cannot be read ({setting}): {error}") from None
        self._setting = setting
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._key: str | None = None
        self._had_at = 0.0
        self._running = asyncio.Lock()

    async def key(self) -> str | None:
        """What the command printed last, or prints now."""
        async with self._running:
            if self._key is None:
                await self._run()
        return self._key

    async def refresh(self) -> bool:
        """Run the command again.

        If many calls are refused at once, the first one runs it, and the others use its result.
        """
        before = self._key
        async with self._running:
            if self._key == before and self._now() - self._had_at >= _REFRESHED_AT_MOST_EVERY_SECONDS:
                await self._run()
        return self._key != before

    async def _run(self) -> None:
        """Run the command and take its output. If it fails, an earlier key is kept."""
        try:
            printed = await self._printed()
        except ProviderUnavailable:
            if self._key is None:
                raise
            self._had_at = self._now()
            return
        self._key, self._had_at = fit_for_a_header(printed, source=self._setting), self._now()

    async def _printed(self) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except (OSError, IndexError, TypeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is empty"
            raise ProviderMisconfigured(f"the command for the API key cannot run ({self._setting}): {reason}") from None
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async with asyncio.timeout(self._timeout_seconds):
                printed = await _all_of(process.stdout)
                code = await process.wait()
        except TimeoutError:
            raise ProviderUnavailable(
                f"the command for the API key gave none within {self._timeout_seconds:g} seconds ({self._setting})"
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if code or not printed.strip():
            what = f"ended with {code}" if code else "printed nothing"
            raise ProviderUnavailable(f"the command for the API key {what} ({self._setting})")
        return printed.decode("utf-8", errors="replace")


async def _all_of(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readexactly(_MOST_BYTES)
    except asyncio.IncompleteReadError as end:
        return end.partial


def fit_for_a_header(key: str, *, source: str) -> str:
    """A key without surrounding blanks, such as the newline of `echo`.

    Raises:
        ProviderMisconfigured: it holds characters that no header can.
    """
    key = key.strip()
    if not key:
        raise ProviderMisconfigured(f"the API key is empty ({source})")
    if (problem := problem_of_key(key)) is not None:
        raise ProviderMisconfigured(f"the API key {problem} ({source})")
    return key
