"""Starting docsluice's programs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from docsluice_local.process import Child, free_port
from tests.integration.forked_program import ForkedChild, ran
from tests.integration.wire import Wire


def environment(wire: Wire, base_url: str, **more: str) -> dict[str, str]:
    """The settings of a consumer on this wire."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": wire.bootstrap_servers,
        "OPENAI_BASE_URL": base_url,
        "DOCSLUICE_GROUP_ID": f"{wire.name}.group",
        "DOCSLUICE_INPUT_TOPIC": wire.topics["input"],
        "DOCSLUICE_RESULT_TOPIC": wire.topics["result"],
        "DOCSLUICE_DEAD_LETTER_TOPIC": wire.topics["dead_letter"],
        "DOCSLUICE_COMMIT_INTERVAL_SECONDS": "0.1",
        "DOCSLUICE_HTTP_HOST": "127.0.0.1",
        "DOCSLUICE_HTTP_PORT": str(free_port()),
        "DOCSLUICE_STORE_URL": "memory://",
        **more,
    }


def consumer(settings: Mapping[str, str], *, log_path: Path, before: Sequence[str] = ()) -> Child:
    """`docsluice-consumer run`, not yet started. `before` is a command that it is started through."""
    return Child(
        name="consumer",
        command=[*before, sys.executable, "-m", "docsluice_consumer", "run"],
        log_path=log_path,
        environment=settings,
    )


def forked_consumer(settings: Mapping[str, str], *, log_path: Path) -> Child:
    """The same as a fork, which is up at once: where nothing hangs on how it is started."""
    return ForkedChild("consumer", "run", log_path=log_path, environment=settings)


def start(child: Child, settings: Mapping[str, str]) -> None:
    """Start it, and return when it is ready."""
    port = settings["DOCSLUICE_HTTP_PORT"]
    child.start(is_ready=lambda: answers(f"http://127.0.0.1:{port}/readyz"), timeout_seconds=60)


def run(program: str, *arguments: str, settings: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of the programs to its end, as a fork that is up at once."""
    environment = {**os.environ, **(settings or {})}
    ended = asyncio.run(ran(program, *arguments, environment=environment))
    return subprocess.CompletedProcess(ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def answers(url: str) -> bool:
    """Whether it does, with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
