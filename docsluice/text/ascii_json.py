"""JSON that any reader takes, whatever a document holds. Pure."""

from __future__ import annotations

import json
import math
from typing import Any


def compact(value: Any) -> str:
    """JSON without blanks, in ASCII. Half of a surrogate pair has no other form.

    A number that is not finite becomes null, as in JavaScript: Python reads `NaN`, and JSON has no such number.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
