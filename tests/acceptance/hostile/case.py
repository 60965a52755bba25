"""What one hostile case is, and what was seen of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from docsluice_local.broker import Broker
from docsluice_local.process import Child
from tests.fakes.raw_server import RawAnswer
from tests.fakes.redis_wire import Says
from tests.integration.wire import Wire

HOSTILE = "hostile"
"""A document's text begins with it where its answer is the hostile one."""
_CEILING_MIB = 160 + 4.5 * 128
"""What docs/how-to/operations.md promises, with the default DOCSLUICE_MAX_OPEN_BYTES."""
_MOST_LOG_MIB = 1.0
KEY = "sk-Zq8vT3mKx7RbYw2NcLp5HdJf9GsAe4UtXo6"
"""Of the provider. No eight characters of it in a row may come out of the service."""
_TOLD = 8


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What an attack from beside may touch: the service at work. `ended` is set once the documents have ended.

    `broker` is None where it is not ours alone.
    """

    wire: Wire
    folder: Path
    settings: Mapping[str, str]
    child: Child
    ended: asyncio.Event
    broker: Broker | None = None

    @property
    def port(self) -> int:
        """Of its HTTP server."""
        return int(self.settings["DOCSLUICE_HTTP_PORT"])


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
        redis: What a Redis says that is the store, and shares out the limits; the ordinary documents go on without it.
        prepare: Lays out the state folder before the start; gives settings that name something in it.
        prepare_wire: The same of the topics, once all documents are there.
        before: A command that the consumer is started through.
        beside: What is done meanwhile; gives problems, in sentences.
        outage_seconds: How long nothing can go on, whatever the service does.
        says: Events that its log must tell.
        ends: How the hostile records and documents end: dead letters by reason, or `result`. A number: so many, as dead
            letters of any reason. None: any way.
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
    prepare: Callable[[Path], Mapping[str, str]] = lambda _: {}
    prepare_wire: Callable[[Wire], Awaitable[None]] | None = None
    before: Sequence[str] = ()
    beside: Callable[[Stage], Awaitable[Sequence[str]]] | None = None
    outage_seconds: float = 0.0
    says: Sequence[str] = ()
    ends: Mapping[str, int] | int | None = field(default_factory=dict)

    @property
    def ends_in_all(self) -> int:
        """How many hostile ones end, as far as it is told."""
        return sum(self.ends.values()) if isinstance(self.ends, Mapping) else self.ends or 0


@dataclass(kw_only=True)
class Seen:
    """What was seen.

    Seconds until the last ordinary document that had no hostile answer itself, MiB, seconds of silence at `/livez`.
    """

    results: int = 0
    repeated: int = 0
    unanswered: int = 0
    """Results of ordinary documents without the task's answer."""
    ends: Counter[str] = field(default_factory=Counter)
    ordinary_dead_letters: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    peak_mib: float = 0.0
    longest_silence_seconds: float = 0.0
    loop_lag_seconds: float = 0.0
    exit_code: int | None = None
    log_mib: float = 0.0
    is_live: bool = False
    """At the end, when whatever was done beside is over."""
    told: set[str] = field(default_factory=set)
    """Where a part of the key has come out."""
    said: set[str] = field(default_factory=set)
    """Events of its log."""
    beside: list[str] = field(default_factory=list)
    """What was found wrong by what was done beside."""

    def look_for_the_key(self, text: str, *, where: str) -> None:
        """Note it where it is told."""
        if any(KEY[start : start + _TOLD] in text for start in range(len(KEY) - _TOLD + 1)):
            self.told.add(where)

    def problems(self, case: Case, *, documents: int) -> list[str]:
        """What breaks a promise, in sentences; time is not among it."""
        found = list(self.beside)
        found += [f"a part of the key is in {where}" for where in sorted(self.told)]
        found += [f"the log does not tell {event}" for event in case.says if event not in self.said]
        if self.log_mib > _MOST_LOG_MIB:
            found.append(f"{self.log_mib:.1f} MiB of log")
        if not self.is_live:
            found.append("/livez does not answer any more")
        if self.results != documents:
            found.append(f"{self.results} of {documents} ordinary documents ended as results")
        if self.repeated:
            found.append(f"{self.repeated} results came twice")
        if self.unanswered:
            found.append(f"{self.unanswered} results have no answer")
        if self.ordinary_dead_letters:
            found.append(f"ordinary documents became dead letters: {dict(self.ordinary_dead_letters)}")
        if not self._end_as_told(case):
            found.append(f"the hostile ones ended as {dict(self.ends)}, not as {case.ends}")
        if self.peak_mib > _CEILING_MIB:
            found.append(f"{self.peak_mib:,.0f} MiB of memory, and {_CEILING_MIB:,.0f} are promised")
        if self.exit_code != 0:
            found.append(f"exit code {self.exit_code} after SIGTERM")
        return found

    def _end_as_told(self, case: Case) -> bool:
        if case.ends is None:
            return True
        if isinstance(case.ends, int):
            return self.ends.total() == case.ends and not self.ends["result"]
        return self.ends == Counter(case.ends)
