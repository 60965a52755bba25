"""A real Redis as our own process: on a free port, in memory only."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docsluice_local.process import Child, accepts_connections, child_process, free_port


@dataclass(frozen=True, kw_only=True)
class RedisServer:
    """One that runs."""

    port: int
    child: Child

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Again, and empty."""
        self.child.start(is_ready=lambda: accepts_connections(port=self.port))


def why_no_redis() -> str | None:
    """Why none can be started here. None when one can."""
    if shutil.which("redis-server"):
        return None
    return "redis-server is not on PATH (Debian: apt-get install redis-server)"


@contextlib.contextmanager
def redis_server(*, folder: Path, arguments: tuple[str, ...] = ()) -> Iterator[RedisServer]:
    """One for the length of the block."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with child_process(
        name="redis",
        command=[*command, "--save", "", "--appendonly", "no", *arguments],
        log_path=folder / "redis.log",
        is_ready=lambda: accepts_connections(port=port),
    ) as child:
        yield RedisServer(port=port, child=child)
