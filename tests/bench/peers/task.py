"""What every peer is told: where the documents are, where results go, and what to ask."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SERVERS = os.environ.get("BENCH_SERVERS", "")
DOCUMENTS, RESULTS = "documents", "documents.results"
BASE_URL = os.environ["BENCH_BASE_URL"]
IN_FLIGHT = int(os.environ["BENCH_IN_FLIGHT"])
PARTITIONS = int(os.environ.get("BENCH_PARTITIONS", "1"))
_REQUESTS: list[dict[str, Any]] = json.loads(Path(os.environ["BENCH_REQUESTS"]).read_text("utf-8"))
MODEL = _REQUESTS[0]["model"]


def requests(text: str) -> list[dict[str, Any]]:
    """The requests that docsluice itself sends for this text: one, or one for each task."""
    return [
        {
            "model": MODEL,
            "messages": [*request["messages"][:-1], {"role": "user", "content": text}],
            "response_format": request["response_format"],
        }
        for request in _REQUESTS
    ]


def result_of(document_id: str, contents: Iterable[str], usages: Iterable[Any]) -> dict[str, Any]:
    """The result, from the answers' contents and usages."""
    outputs = {name: value for content in contents for name, value in json.loads(content).items()}
    return {"document_id": document_id, "outputs": outputs, "usage": [*usages]}
