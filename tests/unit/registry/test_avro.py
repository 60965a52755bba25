"""Avro as plain JSON: what fastavro writes is read, and any other bytes are only their own record's fault."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.registry.avro import MOST_DEPTH, MOST_VALUES, NoSchema, Unfit, avro_reader
from tests.fakes.avro import written

TREE = {
    "type": "record",
    "name": "Node",
    "namespace": "a.b",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "next", "type": ["null", "Node"]},
        {"name": "leaves", "type": {"type": "array", "items": "a.b.Node"}},
    ],
}
EVERYTHING: dict[str, Any] = {
    "type": "record",
    "name": "All",
    "fields": [
        {"name": "nothing", "type": "null"},
        {"name": "flag", "type": "boolean"},
        {"name": "small", "type": "int"},
        {"name": "large", "type": "long"},
        {"name": "half", "type": "float"},
        {"name": "whole", "type": "double"},
        {"name": "data", "type": "bytes"},
        {"name": "text", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}},
        {"name": "again", "type": ["null", "Kind"]},
        {"name": "four", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "texts", "type": {"type": "array", "items": "string"}},
        {"name": "counts", "type": {"type": "map", "values": ["null", "long", "string"]}},
        {"name": "tree", "type": TREE},
    ],
}


def zigzag(number: int) -> bytes:
    found, out = (number << 1) ^ (number >> 63), bytearray()
    while found > 0x7F:
        out.append(found & 0x7F | 0x80)
        found >>= 7
    out.append(found)
    return bytes(out)


INT, LONG = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NODES = st.recursive(
    st.builds(lambda name: {"name": name, "next": None, "leaves": []}, TEXT),
    lambda inner: st.fixed_dictionaries(
        {"name": TEXT, "next": st.none() | inner, "leaves": st.lists(inner, max_size=3)}
    ),
    max_leaves=6,
)
ALL = st.fixed_dictionaries(
    {
        "nothing": st.none(),
        "flag": st.booleans(),
        "small": INT,
        "large": LONG,
        "half": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "whole": st.floats(allow_nan=False, allow_infinity=False),
        "data": st.binary(max_size=20),
        "text": TEXT,
        "kind": st.sampled_from("ABC"),
        "again": st.none() | st.sampled_from("ABC"),
        "four": st.binary(min_size=4, max_size=4),
        "texts": st.lists(TEXT, max_size=4),
        "counts": st.dictionaries(TEXT, st.none() | LONG | TEXT, max_size=4),
        "tree": NODES,
    }
)
READ_ALL = avro_reader(EVERYTHING)


def problem_of(read: Callable[[bytes], Any], data: bytes) -> str:
    """Why bytes are not read. Empty if they are."""
    try:
        read(data)
    except (NoSchema, Unfit) as problem:
        return str(problem)
    return ""


@given(ALL)
def test_what_another_writer_writes_is_read(value: dict[str, Any]) -> None:
    """Every type. Bytes become base64, and all else is as it was."""
    read = READ_ALL(written(EVERYTHING, value))
    in_text = {name: base64.b64encode(value[name]).decode() for name in ("data", "four")}
    assert read == value | in_text
    json.dumps(read, allow_nan=False)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_do_not_fit(data: bytes) -> None:
    """There is no other end, and the problem is short and without the bytes."""
    assert len(problem_of(READ_ALL, data)) < 500


@given(ALL, st.data())
def test_a_damaged_value_is_read_or_does_not_fit(value: dict[str, Any], data: st.DataObject) -> None:
    """A byte more, less, or another one."""
    whole = bytearray(written(EVERYTHING, value))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    assert len(problem_of(READ_ALL, bytes(whole))) < 500


@pytest.mark.parametrize(
    ("schema", "data", "problem"),
    [
        ({"type": "array", "items": "null"}, zigzag(2**62), f"more than {MOST_VALUES:,} values"),
        ({"type": "array", "items": "null"}, zigzag(-(2**63)) + zigzag(0), f"more than {MOST_VALUES:,} values"),
        ({"type": "map", "values": "null"}, zigzag(2**62), f"more than {MOST_VALUES:,} values"),
        ("string", zigzag(2**62), "a length of 4,611,686,018,427,387,904 bytes, and 0 are left"),
        ("bytes", zigzag(-5) + b"12345", "a length of -5 bytes, and 5 are left"),
        ("string", zigzag(1) + b"\xff", "a string that is not UTF-8"),
        ("long", b"\xff" * 11, "a number of more than ten bytes"),
        ("long", b"\xff" * 9 + b"\x7f", "a number of more than 64 bits"),
        ("long", b"\x80", "it ends in the middle of a number"),
        ("int", zigzag(2**31), "an int of more than 32 bits"),
        ("boolean", b"\x02", "a boolean that is 2"),
        ("boolean", b"", "a length of 1 bytes, and 0 are left"),
        (["null", "string"], zigzag(2), "branch 2 of a union that has 2"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, zigzag(-1), "symbol -1 of an enum that has 1"),
        ("null", b"x", "1 bytes are left behind it"),
    ],
)
def test_hostile_bytes_do_not_fit(schema: Any, data: bytes, problem: str) -> None:
    """Lengths, counts and numbers of any size end at once."""
    with pytest.raises(Unfit) as caught:
        avro_reader(schema)(data)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}, b"\x02" * 2_000_000),
        ({"type": "record", "name": "N", "fields": [{"name": "n", "type": "N"}]}, b""),
        (
            {
                "type": "record",
                "name": "N",
                "fields": [{"name": "n", "type": {"type": "array", "items": ["null", "N"]}}],
            },
            b"\x02\x02" * 1_000_000,
        ),
    ],
)
def test_a_value_without_a_bottom_does_not_fit(schema: Any, data: bytes) -> None:
    """A recursive schema lets a byte go a level deeper. fastavro's process ends by it."""
    with pytest.raises(Unfit, match=f"nested more than {MOST_DEPTH} levels deep"):
        avro_reader(schema)(data)


def test_a_problem_names_the_field() -> None:
    """The innermost ones are enough."""
    with pytest.raises(Unfit) as caught:
        READ_ALL(b"\x07")
    assert str(caught.value) == "flag: a boolean that is 7"


def test_numbers_that_json_has_not_are_texts() -> None:
    """As Protobuf's JSON and Java's have them."""
    read = avro_reader({"type": "array", "items": "double"})
    values = [math.nan, math.inf, -math.inf, 0.5]
    assert read(written({"type": "array", "items": "double"}, values)) == ["NaN", "Infinity", "-Infinity", 0.5]


MOMENT = datetime(2026, 2, 28, 23, 59, 58, 120_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schema", "value", "read"),
    [
        ({"type": "int", "logicalType": "date"}, date(1969, 12, 31), "1969-12-31"),
        ({"type": "int", "logicalType": "time-millis"}, time(1, 2, 3, 4000), "01:02:03.004"),
        ({"type": "long", "logicalType": "time-micros"}, time(1, 2, 3), "01:02:03"),
        ({"type": "long", "logicalType": "timestamp-millis"}, MOMENT, "2026-02-28T23:59:58.120Z"),
        ({"type": "long", "logicalType": "timestamp-micros"}, MOMENT, "2026-02-28T23:59:58.120000Z"),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            MOMENT - timedelta(days=40_000),
            "1916-08-24T23:59:58.120Z",
        ),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1, "1970-01-01T00:00:00.000000001Z"),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            MOMENT.replace(tzinfo=None),
            "2026-02-28T23:59:58.120",
        ),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("-12.30"), "-12.30"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9}, Decimal(7), "7"),
        (
            {"type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 3},
            Decimal("0.001"),
            "0.001",
        ),
        (
            {"type": "string", "logicalType": "uuid"},
            UUID(int=7),
            "00000000-0000-0000-0000-000000000007",
        ),
        ({"type": "string", "logicalType": "mine"}, "x", "x"),
        ({"type": "long", "logicalType": "timestamp-millis"}, 2**62, 2**62),
        ({"type": "int", "logicalType": "date"}, 2**31 - 1, 2**31 - 1),
    ],
)
def test_logical_types_are_texts(schema: Any, value: Any, read: Any) -> None:
    """Times in RFC 3339, decimals and UUIDs. What is outside of the calendar stays a number."""
    data = zigzag(value) if isinstance(value, int) else written(schema, value)
    assert avro_reader(schema)(data) == read


@given(LONG, st.sampled_from(["timestamp-millis", "timestamp-micros", "timestamp-nanos", "time-micros"]))
def test_any_number_is_a_time_or_stays_one(number: int, name: str) -> None:
    """No number is without an end."""
    read = avro_reader({"type": "long", "logicalType": name})(zigzag(number))
    assert read == number or isinstance(read, str)


@given(st.binary(max_size=40), st.integers(0, 30))
def test_any_bytes_are_a_decimal(data: bytes, scale: int) -> None:
    """Of any scale, and without rounding."""
    read = avro_reader({"type": "bytes", "logicalType": "decimal", "precision": 99, "scale": scale})(
        zigzag(len(data)) + data
    )
    assert int(Decimal(read).scaleb(scale)) == int.from_bytes(data, "big", signed=True) or len(data) > 10


def test_references_are_resolved() -> None:
    """A schema may name types that others define."""
    inner = {"type": "record", "name": "x.Inner", "fields": [{"name": "a", "type": "int"}]}
    outer = {"type": "record", "name": "y.Outer", "fields": [{"name": "inner", "type": "x.Inner"}]}
    assert avro_reader(outer, [inner])(zigzag(5)) == {"inner": {"a": 5}}


@pytest.mark.parametrize(
    "schema",
    [
        "Unknown",
        {"type": "record", "name": "R"},
        {"type": "record", "fields": []},
        {"type": "array"},
        {"type": "enum", "name": "E", "symbols": 5},
        {"type": "fixed", "name": "F", "size": -1},
        {"type": "fixed", "name": "F", "size": "many"},
        {},
        None,
        5,
        [["null"], 7],
    ],
)
def test_a_schema_that_is_none_is_refused(schema: Any) -> None:
    """Before any value is read."""
    with pytest.raises(NoSchema):
        avro_reader(schema)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["string", "record", "enum"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "size", "logicalType", "scale"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.binary(max_size=30))
def test_any_schema_is_read_or_refused(schema: Any, data: bytes) -> None:
    """And any bytes by it."""

    def read(data: bytes) -> Any:
        return avro_reader(schema)(data)

    assert len(problem_of(read, data)) < 500


def test_a_schema_without_a_bottom_is_refused() -> None:
    """Arrays of arrays of arrays."""
    schema: Any = "string"
    for _ in range(MOST_DEPTH + 1):
        schema = {"type": "array", "items": schema}
    with pytest.raises(NoSchema, match="nested more than"):
        avro_reader(schema)
