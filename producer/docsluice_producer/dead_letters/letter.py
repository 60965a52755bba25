"""A dead letter for the commands: the record, its headers, and its state. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from docsluice.outcomes.money import dollars
from docsluice.outcomes.outcome import FetchedRecord, Outcome, errors_of
from docsluice_producer.dead_letters.marks import Place, State

_LIFE = ("topic", "partition", "offset", "timestamp", "group", "pipeline_version", "replay_count")
"""Headers that are equal in a dead letter that came twice, and if its record was read again and failed again."""
_SOURCE = re.compile(r"([A-Za-z0-9._-]{1,249})(?:/([0-9]{1,9})|\[([0-9]{1,9})\])@([0-9]{1,18})")
"""In the brackets, as earlier releases wrote the partition."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record was first read. Written `topic/partition@offset`, as the service's log has it."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


def source_in(text: str) -> Source | None:
    """The place in a source topic that a text names. None if it names none."""
    found = _SOURCE.fullmatch(text)
    return Source(found[1], int(found[2] or found[3]), int(found[4])) if found else None


def place_of(source: Source, *, topic: str) -> Place | None:
    """The place in the dead-letter topic, where a text names that topic. None for a place in another one."""
    return Place(source.partition, source.offset) if source.topic == topic else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter."""

    record: FetchedRecord
    outcome: Outcome
    state: State

    @property
    def place(self) -> Place:
        """Where it is in the dead-letter topic."""
        return Place(self.record.partition, self.record.offset)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields of `list --json`: those of `follow --json`, then `place` and `state`."""
        return {**self.outcome.fields, "place": str(self.place), "state": self.state.value}

    @property
    def origin_topic(self) -> str | None:
        """The topic in which the record was first read."""
        topic: str | None = self.outcome.fields["source"]["topic"]
        return topic

    @property
    def origin_partition(self) -> int | None:
        """The partition of that topic."""
        partition: int | None = self.outcome.fields["source"]["partition"]
        return partition

    def is_from(self, source: Source) -> bool:
        """Whether the record was first read there."""
        said = self.outcome.fields["source"]
        return (said["topic"], said["partition"], said["offset"]) == (source.topic, source.partition, source.offset)

    @property
    def replays(self) -> int:
        """How often it was sent again. 0 if its headers do not tell."""
        return self.outcome.fields["replay_count"] or 0

    @property
    def cost_of_a_run(self) -> Decimal | None:
        """The mean cost of its runs in US dollars. None if its headers do not tell."""
        if dollars(errors_of(self.record).get("cost_usd", "")) is None:
            return None
        return self.outcome.cost_usd / (self.replays + 1)

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for a dead letter that came twice, as with at-least-once delivery, or whose record was read again."""
        errors = errors_of(self.record)
        if not (errors.get("topic") and errors.get("offset")):
            return (str(self.place),)
        return tuple(errors.get(name, "") for name in _LIFE)
