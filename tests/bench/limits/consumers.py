"""Consumers as processes of their own, and what they say of themselves over HTTP."""

from __future__ import annotations

import asyncio
import signal
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import docsluice_consumer
from docsluice_local.process import Child, free_port

ROOT = Path(docsluice_consumer.__file__).parents[2]
"""The checkout whose consumer is measured."""

_READY_SECONDS = 90.0
_EXIT_SECONDS = 90.0
_PREFIX = "docsluice_"


class Consumer:
    """One consumer: `python -m MODULE run` with these settings."""

    def __init__(
        self, *, name: str, settings: Mapping[str, str], log_path: Path, module: str = "docsluice_consumer"
    ) -> None:
        self._port = free_port()
        environment = {
            **settings,
            "PYTHONPATH": str(ROOT),
            "DOCSLUICE_LOG_FORMAT": "json",
            "DOCSLUICE_HTTP_HOST": "127.0.0.1",
            "DOCSLUICE_HTTP_PORT": str(self._port),
        }
        self.child = Child(
            name=name, command=[sys.executable, "-m", module, "run"], log_path=log_path, environment=environment
        )

    async def start(self) -> None:
        """Start it, and return when it is ready.

        Raises:
            ChildFailedError: it ended instead, or was not ready in time.
        """
        await asyncio.to_thread(self.child.start, is_ready=self._is_ready, timeout_seconds=_READY_SECONDS)

    async def kill(self) -> None:
        """`kill -9`."""
        await asyncio.to_thread(self.child.kill)

    async def terminate(self) -> None:
        """SIGTERM, if it runs, and wait for its end.

        Raises:
            TimeoutExpired: it did not end.
        """
        if self.child.running:
            self.child.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self.child.wait, timeout_seconds=_EXIT_SECONDS)

    async def gauges(self, name: str) -> Mapping[tuple[str, ...], float]:
        """The values of one of its metrics, by the values of their labels. None when it has no such metric."""
        return await asyncio.to_thread(self._gauges, _PREFIX + name)

    def _gauges(self, name: str) -> Mapping[tuple[str, ...], float]:
        families = text_string_to_metric_families(self._get("/metrics"))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {tuple(sample.labels.values()): sample.value for sample in samples}

    def _is_ready(self) -> bool:
        try:
            return bool(self._get("/readyz"))
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=2) as response:
            content: bytes = response.read()
            return content.decode()
