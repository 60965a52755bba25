"""What every peer is told: where the documents are, where results go, and what to ask."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SERVERS = os.environ.get("BENCH_SERVERS", "")
DOCUMENTS, RESULTS = "documents", "documents.results"
BASE_URL = os.environ["BENCH_BASE_URL"]
IN_FLIGHT = int(os.environ["BENCH_IN_FLIGHT"])
_REQUEST: dict[str, Any] = json.loads(Path(os.environ["BENCH_REQUEST"]).read_text("utf-8"))
MODEL, RESPONSE_FORMAT = _REQUEST["model"], _REQUEST["response_format"]


def messages(text: str) -> list[dict[str, str]]:
    """The turns that docsluice itself sends, around this text."""
    return [*_REQUEST["messages"][:-1], {"role": "user", "content": text}]
