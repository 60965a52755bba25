"""The rehearsal provider, served: in this process for tests, or as a process of its own for benchmarks and demos."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from docsluice_local.process import accepts_connections, child_process, free_port
from docsluice_local.rehearsal.application import CALL_LOG, OUTAGES, rehearsal_app
from docsluice_local.rehearsal.call_log import CallLog
from docsluice_local.rehearsal.outages import Outages
from docsluice_local.rehearsal.settings import RehearsalSettings

_HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 0.1  # a client that hangs at the end would hang for ever


@dataclass(frozen=True, kw_only=True)
class RehearsalProvider:
    """A rehearsal provider that is being served. `base_url` is what OPENAI_BASE_URL wants."""

    base_url: str
    calls: CallLog
    outages: Outages


@contextlib.asynccontextmanager
async def rehearsal_provider(
    settings: RehearsalSettings | None = None, *, host: str = _HOST, port: int | None = None
) -> AsyncIterator[RehearsalProvider]:
    """Serve the provider on this event loop, on `port` (default: a free one) of the interface with the address `host`.

    Its back door is as open as its front door, so use another host than this machine's only in a closed network.
    """
    port = port or free_port()
    app = rehearsal_app(settings or RehearsalSettings())
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    door = _Door(runner=runner, host=host, port=port)
    app[OUTAGES].on_refused = door.close_for
    try:
        await door.open()
        yield RehearsalProvider(base_url=base_url(port), calls=app[CALL_LOG], outages=app[OUTAGES])
    finally:
        app[OUTAGES].clear()
        await door.close()
        await runner.cleanup()


@contextlib.contextmanager
def rehearsal_process(*, log_path: Path, arguments: Sequence[str] = (), port: int | None = None) -> Iterator[str]:
    """Run `docsluice rehearse` with these arguments and yield its base URL."""
    port = port or free_port()
    command = [sys.executable, "-m", "docsluice_local.rehearsal", "--port", str(port), *arguments]
    with child_process(
        name="rehearsal provider", command=command, log_path=log_path, is_ready=lambda: accepts_connections(port=port)
    ):
        yield base_url(port)


def base_url(port: int) -> str:
    """What OPENAI_BASE_URL wants for a provider on this port."""
    return f"http://{_HOST}:{port}/v1"


class _Door:
    """The listening port, which can be closed for a while to refuse connections."""

    def __init__(self, *, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self._host = host
        self._port = port
        self._site: web.TCPSite | None = None
        self._closed_for_a_while: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._site = web.TCPSite(self._runner, self._host, self._port)
        await self._site.start()

    def close_for(self, seconds: float) -> None:
        if self._closed_for_a_while is None or self._closed_for_a_while.done():
            self._closed_for_a_while = asyncio.create_task(self._stay_closed(seconds), name="rehearsal-door")

    async def close(self) -> None:
        if self._closed_for_a_while is not None:
            self._closed_for_a_while.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._closed_for_a_while
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def _stay_closed(self, seconds: float) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None
        await asyncio.sleep(seconds)
        await self.open()
