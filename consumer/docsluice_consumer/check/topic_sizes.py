"""Whether the dead-letter topic takes what the input topic takes, for `check`. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from docsluice_consumer.check.findings import Found

ROOM_BYTES = 16 * 1024
"""Room for the error headers of a dead letter, the stack trace among them."""


def sizes_found(
    limits: Mapping[str, int], *, input_topic: str, dead_letter_topic: str, kept_bytes: int
) -> Found | None:
    """What the topics' `max.message.bytes` mean for dead letters. None where the broker does not tell them.

    Records of more than `kept_bytes` are read without their value.
    """
    largest, room = limits.get(input_topic), limits.get(dead_letter_topic)
    if largest is None or room is None:
        return None
    problems = []
    if room < largest + ROOM_BYTES:
        problems.append(
            f"raise max.message.bytes of {dead_letter_topic} from {room:,} to {largest + ROOM_BYTES:,}, or dead letters"
            f" of the largest records lose their value: {input_topic} takes {largest:,} bytes, and headers need room"
        )
    if largest > kept_bytes:
        problems.append(
            f"{input_topic} takes {largest:,} bytes, and of records with more than {kept_bytes:,} no value is kept"
        )
    if problems:
        return Found("; ".join(problems), doubtful=True)
    return Found(f"{dead_letter_topic} takes {room:,} bytes, {input_topic} {largest:,}")
