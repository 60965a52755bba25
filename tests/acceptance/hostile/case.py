"""What one hostile case is, and what was seen of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.raw_server import RawAnswer
from tests.fakes.redis_wire import Says

HOSTILE = "hostile"
"""A document's text begins with it where its answer is the hostile one."""
_CEILING_MIB = 160 + 4.5 * 128
"""What docs/operations.md promises, with the default DOCSLUICE_MAX_OPEN_BYTES."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something from outside that must cost itself only.

    Attributes:
        batches: Record batches as they go to the broker, ahead of the ordinary documents.
        hostile_documents: How many documents get the hostile answer, ahead of the ordinary ones.
        answer: That answer. None goes on as an ordinary one.
        first_answer: The answer to the first ordinary document, in place of its own.
        seconds: How long the hostile answer takes.
        random_share: The part of ordinary calls that get the hostile answer first.
        output: The `output` of the pipeline's task, where the default one will not do.
        settings: Environment of the consumer.
        redis: What a Redis says that is the store; the ordinary documents go on without it.
        prepare: Lays out the state folder before the start.
        idle_connections: To the HTTP port, opened and left alone.
        ends: How the hostile records and documents end: dead letters by reason, or `result`. None: any way.
    """

    name: str
    batches: Callable[[], Sequence[bytes]] = tuple
    hostile_documents: int = 0
    answer: Callable[[], RawAnswer] | None = None
    first_answer: Callable[[], RawAnswer] | None = None
    seconds: float = 0.0
    random_share: float = 0.0
    output: Mapping[str, object] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    redis: Says | None = None
    prepare: Callable[[Path], None] | None = None
    idle_connections: int = 0
    ends: Mapping[str, int] | None = field(default_factory=dict)


@dataclass(kw_only=True)
class Seen:
    """What was seen.

    Seconds until the last ordinary document that had no hostile answer itself, MiB, seconds of silence at `/livez`.
    """

    results: int = 0
    repeated: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    ordinary_dead_letters: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    peak_mib: float = 0.0
    longest_silence_seconds: float = 0.0
    loop_lag_seconds: float = 0.0
    exit_code: int | None = None
    log_mib: float = 0.0

    def problems(self, case: Case, *, documents: int) -> list[str]:
        """What breaks a promise, in sentences; time is not among it."""
        found = []
        if self.results != documents:
            found.append(f"{self.results} of {documents} ordinary documents ended as results")
        if self.repeated:
            found.append(f"{self.repeated} results came twice")
        if self.ordinary_dead_letters:
            found.append(f"ordinary documents became dead letters: {dict(self.ordinary_dead_letters)}")
        if case.ends is not None and self.ends != Counter(case.ends):
            found.append(f"the hostile ones ended as {dict(self.ends)}, not as {dict(case.ends)}")
        if self.peak_mib > _CEILING_MIB:
            found.append(f"{self.peak_mib:,.0f} MiB of memory, and {_CEILING_MIB:,.0f} are promised")
        if self.exit_code != 0:
            found.append(f"exit code {self.exit_code} after SIGTERM")
        return found
