"""A broker of a few lines that takes as much as a test says."""

from __future__ import annotations

from docsluice_consumer.telemetry.health import HealthServer
from docsluice_consumer.telemetry.metrics import Metrics


class Replica:
    """A consumer's metrics under an address of their own. Every look finds that calls have waited for tokens."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.metrics.backlog_documents.set(0)
        self.url = ""
        self._server = HealthServer(metrics=self.metrics, health=self, refresh=self._wait)

    def why_not_live(self) -> None:
        return None

    def why_not_ready(self) -> None:
        return None

    def _wait(self) -> None:
        self.metrics.admission_wait_seconds_total.labels(constraint="tokens").inc(3)
        self.metrics.admission_wait_seconds_total.labels(constraint="gate").inc(1)

    async def start(self, port: int = 0) -> int:
        port = await self._server.start(host="127.0.0.1", port=port)
        self.url = f"http://127.0.0.1:{port}/metrics"
        return port

    async def close(self) -> None:
        await self._server.close()
