"""Why a record could not be read as it was written. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is wrong with a record, and which of its parts were left out.

    `problem` is a sentence that quotes nothing of the record. The value's size and SHA-256 are known if it could be
    read to its end. `first_offset` is set if the flaw covers all records from there to this one.
    """

    problem: str
    is_too_large: bool = False
    left_out: frozenset[str] = frozenset()
    """The missing parts: `headers`, `key`, `value`."""
    value_bytes: int | None = None
    value_sha256: str | None = None
    key_bytes: int | None = None
    first_offset: int | None = None


ALL_PARTS = frozenset({"headers", "key", "value"})
