"""Avro's binary encoding as plain JSON values, by the schema that wrote it. Pure.

The bytes are a stranger's. Lengths are held against what is left, and the number of values and their depth are bounded.
So a record costs at most its own dead letter.
"""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from docsluice.registry.avro_logical import logical
from docsluice.validation.event_problems import shown_name

MOST_VALUES: Final = 1_000_000
"""Of one record. They take about a second."""
MOST_DEPTH: Final = 100
_LONGEST_NUMBER = 63
"""Bits before the last byte of a number may come."""
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_MOST_SHOWN = 5


class NoSchema(ValueError):
    """A schema that cannot be used. The message says why."""


class Unfit(ValueError):
    """Bytes that do not fit their schema. The message has no values."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []

    def __str__(self) -> str:
        if not self.path:
            return self.problem
        places = [shown_name(name) for name in self.path[::-1][:_MOST_SHOWN]]
        return f"{'.'.join(places)}: {self.problem}"


class Cursor:
    """Bytes that are read from the first to the last."""

    __slots__ = ("at", "data", "depth", "values")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.depth = 0
        self.values = MOST_VALUES

    def number(self) -> int:
        """A zigzag number of 64 bits.

        Raises:
            Unfit: it is none.
        """
        data, at = self.data, self.at
        try:
            byte = data[at]
            found, shift = byte & 0x7F, 7
            while byte & 0x80:
                if shift > _LONGEST_NUMBER:
                    raise Unfit("a number of more than ten bytes")
                at += 1
                byte = data[at]
                found |= (byte & 0x7F) << shift
                shift += 7
        except IndexError:
            raise Unfit("it ends in the middle of a number") from None
        self.at = at + 1
        if found >> 64:
            raise Unfit("a number of more than 64 bits")
        return (found >> 1) ^ -(found & 1)

    def take(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            Unfit: there are not as many.
        """
        left = len(self.data) - self.at
        if not 0 <= count <= left:
            raise Unfit(f"a length of {count:,} bytes, and {left:,} are left")
        start = self.at
        self.at = start + count
        return self.data[start : self.at]

    def count(self, values: int) -> None:
        """Count values that are about to be read.

        Raises:
            Unfit: there are too many.
        """
        self.values -= values
        if self.values < 0:
            raise Unfit(f"more than {MOST_VALUES:,} values")

    def enter(self) -> None:
        """Go one level deeper.

        Raises:
            Unfit: it is too deep.
        """
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise Unfit(f"nested more than {MOST_DEPTH} levels deep")


Read: TypeAlias = Callable[[Cursor], Any]


def avro_reader(schema: Any, references: Sequence[Any] = ()) -> Callable[[bytes], Any]:
    """What reads the values of a schema, which is given as JSON. `references` are those it names, in their order.

    Raises:
        NoSchema: it is none that can be read.
    """
    names = _Names()
    try:
        for one in references:
            _reader(one, names, "", 0)
        read = _reader(schema, names, "", 0)
    except NoSchema:
        raise
    except (TypeError, AttributeError, ValueError, LookupError, OverflowError, RecursionError):
        raise NoSchema("it is not as Avro has schemas") from None

    def value_of(data: bytes) -> Any:
        cursor = Cursor(data)
        value = read(cursor)
        if left := len(data) - cursor.at:
            raise Unfit(f"{left:,} bytes are left behind it")
        return value

    return value_of


@dataclass(slots=True)
class _Names:
    """The named types that were met. A type may name itself before it is whole."""

    readers: dict[str, Read] = field(default_factory=dict)

    def reader(self, name: str, space: str) -> Read:
        full = name if "." in name else f"{space}.{name}" if space else name
        found = full if full in self.readers else name
        if found not in self.readers:
            raise NoSchema(f"it names {shown_name(full)}, which is nowhere defined")
        readers = self.readers
        return lambda cursor: readers[found](cursor)  # noqa: PLW0108 - it may not be whole yet

    def define(self, schema: Mapping[str, Any], space: str) -> tuple[str, str]:
        """The full name of a type, and the namespace inside it."""
        name = str(schema["name"])
        if "." not in name and (own := schema.get("namespace", space)):
            name = f"{own}.{name}"
        self.readers[name] = _unfinished
        return name, name.rpartition(".")[0]


def _unfinished(_cursor: Cursor) -> Any:
    raise Unfit("its type holds nothing but itself")


def _reader(schema: Any, names: _Names, space: str, depth: int) -> Read:
    if depth > MOST_DEPTH:
        raise NoSchema(f"it is nested more than {MOST_DEPTH} levels deep")
    if isinstance(schema, str):
        return _PRIMITIVES.get(schema) or names.reader(schema, space)
    if isinstance(schema, list):
        return _union([_reader(one, names, space, depth + 1) for one in schema])
    kind = schema["type"]
    if not isinstance(kind, str):
        return _reader(kind, names, space, depth + 1)
    if (make := _COMPLEX.get(kind)) is not None:
        return make(schema, names, space, depth)
    if (read := _PRIMITIVES.get(kind)) is None:
        return names.reader(kind, space)
    return logical(schema, _bytes if kind == "bytes" else read) or read


def _enum_of(schema: Mapping[str, Any], names: _Names, space: str, _depth: int) -> Read:
    name, _ = names.define(schema, space)
    names.readers[name] = read = _enum([str(one) for one in schema["symbols"]])
    return read


def _fixed_of(schema: Mapping[str, Any], names: _Names, space: str, _depth: int) -> Read:
    name, _ = names.define(schema, space)
    read_bytes = _fixed(int(schema["size"]))
    names.readers[name] = read = logical(schema, read_bytes) or _in_base64(read_bytes)
    return read


def _record_of(schema: Mapping[str, Any], names: _Names, space: str, depth: int) -> Read:
    name, inside = names.define(schema, space)
    fields = [(str(one["name"]), _reader(one["type"], names, inside, depth + 1)) for one in schema["fields"]]
    count = len(fields)

    def read(cursor: Cursor) -> dict[str, Any]:
        cursor.count(count)
        cursor.enter()
        found: dict[str, Any] = {}
        field_name = ""
        try:
            for field_name, value in fields:
                found[field_name] = value(cursor)
        except Unfit as problem:
            problem.path.append(field_name)
            raise
        cursor.depth -= 1
        return found

    names.readers[name] = read
    return read


def _union(branches: Sequence[Read]) -> Read:
    def read(cursor: Cursor) -> Any:
        branch = cursor.number()
        if not 0 <= branch < len(branches):
            raise Unfit(f"branch {branch:,} of a union that has {len(branches)}")
        return branches[branch](cursor)

    return read


def _enum(symbols: Sequence[str]) -> Read:
    def read(cursor: Cursor) -> str:
        at = cursor.number()
        if not 0 <= at < len(symbols):
            raise Unfit(f"symbol {at:,} of an enum that has {len(symbols)}")
        return symbols[at]

    return read


def _blocks(cursor: Cursor, read_one: Callable[[], None]) -> None:
    """Read the items of an array or a map, which come in blocks. A negative count has the block's size behind it."""
    cursor.enter()
    while count := cursor.number():
        if count < 0:
            count = -count
            cursor.number()
        cursor.count(count)
        for _ in range(count):
            read_one()
    cursor.depth -= 1


def _array_of(schema: Mapping[str, Any], names: _Names, space: str, depth: int) -> Read:
    item = _reader(schema["items"], names, space, depth + 1)

    def read(cursor: Cursor) -> list[Any]:
        found: list[Any] = []
        _blocks(cursor, lambda: found.append(item(cursor)))
        return found

    return read


def _map_of(schema: Mapping[str, Any], names: _Names, space: str, depth: int) -> Read:
    value = _reader(schema["values"], names, space, depth + 1)

    def read(cursor: Cursor) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def entry() -> None:
            name = _string(cursor)
            found[name] = value(cursor)

        _blocks(cursor, entry)
        return found

    return read


def _bytes(cursor: Cursor) -> bytes:
    return cursor.take(cursor.number())


def _fixed(size: int) -> Callable[[Cursor], bytes]:
    if size < 0:
        raise NoSchema("it has a fixed type of a negative size")
    return lambda cursor: cursor.take(size)


def _in_base64(read: Callable[[Cursor], bytes]) -> Read:
    return lambda cursor: b64encode(read(cursor)).decode()


def _string(cursor: Cursor) -> str:
    try:
        return _bytes(cursor).decode()
    except UnicodeDecodeError:
        raise Unfit("a string that is not UTF-8") from None


def _boolean(cursor: Cursor) -> bool:
    byte = cursor.take(1)[0]
    if byte > 1:
        raise Unfit(f"a boolean that is {byte}")
    return byte == 1


def _int(cursor: Cursor) -> int:
    found = cursor.number()
    if not -(2**31) <= found < 2**31:
        raise Unfit("an int of more than 32 bits")
    return found


def _floating(packed: struct.Struct) -> Read:
    """A floating number. JSON has no words for those that are none, so they become texts."""

    def read(cursor: Cursor) -> float | str:
        (found,) = packed.unpack(cursor.take(packed.size))
        if math.isfinite(found):
            return float(found)
        return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"

    return read


_PRIMITIVES: Final[Mapping[str, Read]] = {
    "null": lambda _: None,
    "boolean": _boolean,
    "int": _int,
    "long": Cursor.number,
    "float": _floating(_FLOAT),
    "double": _floating(_DOUBLE),
    "bytes": _in_base64(_bytes),
    "string": _string,
}
_COMPLEX: Final[Mapping[str, Callable[[Mapping[str, Any], _Names, str, int], Read]]] = {
    "record": _record_of,
    "error": _record_of,
    "enum": _enum_of,
    "fixed": _fixed_of,
    "array": _array_of,
    "map": _map_of,
}
