"""Where something was measured, so that figures of two machines are not compared by mistake."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from docsluice_local.kafka import KAFKA_VERSION

_LIBRARIES = ("aiokafka", "openai", "aiohttp")


def machine() -> dict[str, str | int | float]:
    """Processor, versions, and how busy it is now."""
    models = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count() or 0,
        "load": os.getloadavg()[2],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        **{name: version(name) for name in _LIBRARIES},
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8").splitlines()
    except OSError:
        return []
