"""The programs `docsluice`, `docsluice-consumer` and `docsluice-producer`: where they begin.

Loading all else takes some tenths of a second, in which a person may press Ctrl-C. So this module imports next to
nothing.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False  # which type checkers take for true; `typing` itself would be a third of our start
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

INTERRUPTED = 130


def main(
    argv: Sequence[str] | None = None, *, program: str = "docsluice", commands: Collection[str] | None = None
) -> int:
    """Run one command and return its exit code. Without `commands`, the program has all of them."""
    gc.disable()  # nothing that is loaded is garbage, and looking for some takes a tenth of the time
    try:
        from docsluice.cli.dispatch import dispatch  # noqa: PLC0415 - see above

        return dispatch(sys.argv[1:] if argv is None else argv, program=program, commands=commands)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)  # noqa: T201 - the person who pressed the keys reads it
        return INTERRUPTED
    finally:
        gc.unfreeze()
        gc.enable()
