"""Ways in which a file, a row or an entry on disk can be spoilt, drawn by hypothesis."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from docsluice_consumer.store.step_store import PaidStep

Damage = Callable[[Path], None]

ODD_TEXT = ["", "NaN", "Infinity", "-1", "1e999", "1e-999999", "x" * 100_000, "\u0000", "null", "{}", "9" * 5000]
ODD_SQL = [None, 0, -1, 2**63 - 1, -(2**63), 1e308, float("inf"), float("-inf"), b"", b"\xff\xfe", b"{}", *ODD_TEXT]
ODD_JSON: list[Any] = [
    None, True, -1, 0, 1.5, 1e308, 10**30, 10**400, "", "NaN", "-1", "1e999", "words", [], ["a"], [1], {}, {"a": 1}
]  # fmt: skip


def bytes_changed() -> st.SearchStrategy[Damage]:
    """Some bytes of the file are others, many of them at its beginning, where most depends on them.

    The application's number stays: a file that has lost both marks of ours is somebody else's, and is left alone.
    """
    place = st.one_of(st.integers(0, 120), st.integers(0, 4200), st.integers(0, 2**20))
    change = st.tuples(place, st.binary(min_size=1, max_size=8)).filter(lambda drawn: not 60 < drawn[0] < 72)
    return st.lists(change, min_size=1, max_size=12).map(changing)


def cut_short() -> st.SearchStrategy[Damage]:
    """The file ends somewhere before its end, or goes on with other bytes."""
    return st.tuples(st.floats(0, 1), st.binary(max_size=300)).map(lambda drawn: cutting(*drawn))


def column_changed(table: str, columns: list[str]) -> st.SearchStrategy[Damage]:
    """A column of one row, or of all, holds something else."""
    return st.builds(_updating, st.just(table), st.sampled_from(columns), st.sampled_from(ODD_SQL), st.booleans())


def entries_changed() -> st.SearchStrategy[Damage]:
    """Something in the entries of a file of steps is another value, or is missing, or is there twice."""
    return st.builds(_rewriting, st.randoms(use_true_random=False))


def changing(changes: list[tuple[int, bytes]]) -> Damage:
    """At these places stand other bytes."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for place, other in changes:
            start = place % max(1, len(content))
            content[start : start + len(other)] = other
        path.write_bytes(content)

    return change


def cutting(part: float, more: bytes) -> Damage:
    """This part of the file is left, and other bytes follow."""

    def cut(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))] + more)

    return cut


def _updating(table: str, column: str, value: object, is_all: bool) -> Damage:  # noqa: FBT001 - drawn by hypothesis
    def update(path: Path) -> None:
        where = "" if is_all else "where rowid = 2" if table == "steps" else f"where {column} is not null"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            with contextlib.suppress(sqlite3.IntegrityError, OverflowError):  # two of one name. Not null
                connection.execute(f"update {table} set {column} = ? {where}", (value,))  # noqa: S608 - our own names
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    return update


def _rewriting(random: Any) -> Damage:
    def rewrite(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for number, step in connection.execute("select id, step from steps").fetchall():
                if random.random() < 0.7:
                    written = entry_changed(step, random)
                    connection.execute("update steps set step = ? where id = ?", (written, number))
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    return rewrite


def entry_changed(step: bytes, random: Any) -> bytes:
    """One entry with a value changed somewhere in it."""
    fields = json.loads(step)
    place, name = fields, random.choice([*PaidStep.model_fields, "more"])
    while isinstance(place.get(name), dict) and place[name] and random.random() < 0.7:
        place, name = place[name], random.choice(list(place[name]))
    match random.randrange(4):
        case 0:
            place.pop(name, None)
        case 1:
            place[random.choice(["a", "summary", "category", name + "x"])] = place.pop(name, None)
        case _:
            place[name] = random.choice(ODD_JSON)
    written = json.dumps(fields).encode()
    return written.replace(b'"words"', random.choice([b"NaN", b"1e999", b"-1e999", b'"\\ud800"', b'"words"']))
