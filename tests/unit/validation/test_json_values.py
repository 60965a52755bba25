"""JSON that is made to be dear to read."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from docsluice.validation.json_values import json_value

MANY = b"[" + b"[]," * 300_000 + b"[]]"


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """How far garbage collections have come."""
    seen: list[str] = []

    def note(phase: str, _: Any) -> None:
        seen.append(phase)

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_a_large_one_causes_no_collections(collections: list[str]) -> None:
    """Each would look at all lists that were read before it."""
    json.loads(MANY)
    assert collections
    gc.collect()
    collections.clear()
    many = json_value(MANY)
    assert len(collections) <= 2  # of the moment in which they are allowed again
    assert len(many) == 300_001


@pytest.mark.parametrize("written", [MANY, MANY[:-1], b"[" * 100_000])
def test_the_collector_runs_again_afterwards(written: bytes) -> None:
    """Whatever was in it."""
    with contextlib.suppress(ValueError):
        json_value(written)
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    """Somebody else has seen to it."""
    gc.disable()
    try:
        json_value(MANY)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("written", ["[" * 100_000, '{"a":' * 100_000, "{", "1" * 5_000])
def test_what_cannot_be_read_is_no_json(written: str) -> None:
    """One kind of error for all that can be wrong."""
    with pytest.raises(ValueError, match=r"."):
        json_value(written)
