"""A dead letter made to fit: as it is, then smaller and smaller, down to the place of the original. Pure.

A record must not stop the service because its dead letter is larger than the topic takes. So the steps below are tried
one after the other, until the broker takes one:

    as it is ─► compressed with zstd ─► without copied headers ─► without value or key ─► without both ─► bare

The header `__docsluice.errors.stub` names what was left out. Of a value that was left out, the headers have the size,
the SHA-256 and the place. The original can be read there as long as the source topic holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from docsluice.messages import (
    ERROR_HEADER_PREFIX,
    STUB_HEADER,
    TRACE_HEADERS,
    Headers,
    is_error_header,
    stub_parts,
)
from docsluice_consumer.kafka.records import OutgoingRecord

_WITH_OTHERS_BYTES = 512 * 1024
"""A larger dead letter goes alone and with zstd at once. gzip would take seconds, and a refusal would fail others."""
_BULKY = frozenset(ERROR_HEADER_PREFIX + name for name in ("exception.stacktrace", "answer"))
_BARE = frozenset(
    ERROR_HEADER_PREFIX + name
    for name in (
        "topic",
        "partition",
        "offset",
        "timestamp",
        "stage",
        "step",
        "reason",
        "attempts",
        "last_failed_at",
        "replay_count",
        "cost_usd",
        "stub",
        "value_bytes",
        "value_sha256",
        "key_bytes",
    )
)
_LONGEST_BARE_BYTES = 300


def rungs(letter: OutgoingRecord) -> Iterator[OutgoingRecord]:
    """The dead letter as it is, then smaller and smaller. All but the first go alone."""
    if letter.size_bytes <= _WITH_OTHERS_BYTES:
        yield letter
    alone = replace(letter, alone=True, compression="zstd")
    yield alone
    if letter.key is None:  # a compacted topic takes nothing without one
        yield _without(alone, ["key"])
    yield _without(alone, ["headers"])
    larger_first = ["value", "key"] if len(letter.value or b"") >= len(letter.key or b"") else ["key", "value"]
    yield _without(alone, ["headers", larger_first[0]])
    stub = _without(alone, ["headers", *larger_first])
    yield stub
    yield _bare(stub)


def _without(letter: OutgoingRecord, parts: Sequence[str]) -> OutgoingRecord:
    """The letter without parts of the record."""
    gone = set(stub_parts(letter.headers))
    fields: dict[str, str] = {}
    if "value" in parts and "value" not in gone and letter.value is not None:
        fields |= {"value_bytes": str(len(letter.value)), "value_sha256": hashlib.sha256(letter.value).hexdigest()}
        letter = replace(letter, value=b"")
    if "key" in parts and ("key" not in gone or letter.key is None):
        if letter.key is not None:
            fields["key_bytes"] = str(len(letter.key))
        letter = replace(letter, key=_place(letter.headers))
    if "headers" in parts:
        letter = replace(letter, headers=[(name, value) for name, value in letter.headers if _stays(name, value)])
    fields["stub"] = ",".join(sorted(gone | set(parts)))
    kept = [(name, value) for name, value in letter.headers if name != STUB_HEADER]
    added = [(ERROR_HEADER_PREFIX + name, value.encode()) for name, value in fields.items()]
    return replace(letter, headers=[*kept, *added])


def _bare(letter: OutgoingRecord) -> OutgoingRecord:
    """The least letter: enough to find the original and to count the failure."""
    headers = [
        (name, value) for name, value in letter.headers if name in _BARE and len(value or b"") <= _LONGEST_BARE_BYTES
    ]
    return replace(letter, headers=headers, compression="gzip")


def _place(headers: Headers) -> bytes:
    """Where the record was read, as the log has it. It replaces the key."""
    said = dict(headers)
    topic, partition, offset = (said.get(ERROR_HEADER_PREFIX + name) for name in ("topic", "partition", "offset"))
    return b"%b/%b@%b" % (topic or b"", partition or b"", offset or b"")


def _stays(name: str, value: bytes | None) -> bool:
    """Whether a header stays: a needed one of ours, or a short one for tracing."""
    if name.lower() in TRACE_HEADERS:
        return len(value or b"") <= _LONGEST_BARE_BYTES
    return is_error_header(name) and name not in _BULKY
