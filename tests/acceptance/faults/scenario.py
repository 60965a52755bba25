"""What a scenario is: a fault, how it is played, and what it needs for that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.acceptance.faults.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fault and its course.

    Attributes:
        play: brings the documents and the fault. It returns when the fault is over. The runner waits for what is left
            to do then.
        documents: how many there are at least, unless the command line says so.
        provider: further arguments of the rehearsal provider.
        settings: further settings of the consumers.
        topic: settings of the input topic.
        timeout_seconds: without any progress for so long, the scenario gives up.
        only_kills: nothing else happens, so that no more is paid again than what may be in flight at once.
        repeats_allowed: why even exactly-once delivery may repeat here. Empty when it may not.
    """

    name: str
    play: Callable[[Stage], Awaitable[None]]
    documents: int
    partitions: int = 6
    replicas: int = 3
    provider: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    topic: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 150.0
    only_kills: bool = False
    repeats_allowed: str = ""
