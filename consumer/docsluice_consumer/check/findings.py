"""How `check` prints what it has found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from docsluice_consumer.errors import CallRefused, DocsluiceError

TIMEOUT_SECONDS = 10.0
HANDSHAKE_SECONDS = 3.0

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """The state of one part. `doubtful`: it may yet work, for some servers do not list all that they have."""

    sentence: str
    doubtful: bool = False

    def line(self, what: str) -> str:
        """The line on the part that is called `what`."""
        return f"{'DOUBTFUL' if self.doubtful else 'ok      '} {what}: {self.sentence}"


async def tried(what: str, attempt: Callable[[], Awaitable[Found]], say: Say) -> bool:
    """Try one part and print a line on it. Returns whether it is well."""
    try:
        found = await attempt()
    except DocsluiceError as problem:
        say(f"FAILED   {what}: {_in_full(problem)}")
        return False
    say(found.line(what))
    return True


def _in_full(problem: DocsluiceError) -> str:
    """The problem in full: the remedy, then the provider's words."""
    if not isinstance(problem, CallRefused):
        return str(problem)
    said = problem.remedy.rpartition(": ")[2]
    words = problem.cause.removeprefix(said).removeprefix(": ").strip()
    return f"{problem.remedy}; it says: {words}" if words else problem.remedy
