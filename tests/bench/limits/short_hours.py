"""`python -m tests.bench.limits.short_hours run`: the consumer, to whom an hour has passed after 30 seconds."""

from __future__ import annotations

import importlib
import sys

HOUR_SECONDS = 30.0


def main() -> int:
    """Shorten the hour before anybody has read its length, and run the consumer."""
    vars(importlib.import_module("docsluice_consumer.admission.budget"))["HOUR_SECONDS"] = HOUR_SECONDS
    from docsluice_consumer.__main__ import main as consume  # noqa: PLC0415 - not before the hour is short

    return consume()


if __name__ == "__main__":
    sys.exit(main())
