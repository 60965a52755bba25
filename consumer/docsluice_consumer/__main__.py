"""The program docsluice-consumer: the commands `run`, `check` and `plan`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from docsluice.cli.program import main as program


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return program(argv, program="docsluice-consumer", commands=("run", "check", "plan"))


if __name__ == "__main__":
    sys.exit(main())
