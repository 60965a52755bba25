"""JSON that any reader takes, whatever a document holds. Pure."""

from __future__ import annotations

import json
from typing import Any


def compact(value: Any) -> str:
    """JSON without blanks, in ASCII. Half of a surrogate pair has no other form."""
    return json.dumps(value, separators=(",", ":"))
