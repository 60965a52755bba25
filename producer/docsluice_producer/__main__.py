"""The program docsluice-producer: the commands `send`, `follow` and `dead-letters`."""

import sys
from collections.abc import Sequence

from docsluice.cli.program import main as program


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return program(argv, program="docsluice-producer", commands=("send", "follow", "dead-letters"))


if __name__ == "__main__":
    sys.exit(main())
