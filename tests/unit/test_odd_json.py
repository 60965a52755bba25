"""JSON that no producer should write: each is a dead letter that says why, and none is taken for a bug of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.errors import RecordRejected
from tests.examples import examples
from tests.fakes.decoding import read_record
from tests.fakes.line import Line
from tests.fakes.pipelines import RESULTS
from tests.fakes.samples import record

HEAD = '{"document_id": "d", "text": "A text.", '
STRUCTURED = [("content-type", b"application/cloudevents+json")]


def _rejection(text: str, headers: list[tuple[str, bytes]] | None = None) -> tuple[str, str]:
    with pytest.raises(RecordRejected) as caught:
        read_record(key=b"k", value=text.encode(), headers=headers or [])
    return caught.value.reason.value, str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason", "why"),
    [
        ("[" * 200_000, "undecodable", "nested too deeply to read"),
        (HEAD + '"x": ' + "[" * 5_000 + "]" * 5_000 + "}", "undecodable", "nested too deeply to read"),
        (HEAD + '"metadata": {"a": ' + "1" * 5_000 + "}}", "undecodable", "a number in it has more than 4,300 digits"),
        (HEAD + '"metadata": {"a": 1e999}}', "invalid_event", "metadata.a: must be a string, a finite number"),
        (HEAD + '"metadata": {"a": NaN}}', "invalid_event", "metadata.a: must be a string, a finite number"),
        ('{"document_id": "d", "text": "\\ud800"}', "undecodable", "not valid Unicode"),
        ('{"document_id": "\\udfff", "text": "t"}', "undecodable", "not valid Unicode"),
        (HEAD + '"metadata": {"\\ud800": 1}}', "undecodable", "not valid Unicode"),
        (HEAD + '"text": "Another."}', "invalid_event", "text: is there more than once"),
        (HEAD + '"metadata": {"a": 1, "b": 2, "a": 3}}', "invalid_event", "metadata.a: is there more than once"),
    ],
)
def test_each_has_its_reason(text: str, reason: str, why: str) -> None:
    """And a sentence with the field, or the limit."""
    found, message = _rejection(text)
    assert found == reason
    assert why in message


def test_an_envelope_that_says_it_twice_is_none() -> None:
    """One reader would take the first `data`, the next one the last."""
    twice = (
        '{"specversion": "1.0", "data": {"document_id": "a", "text": "t"}, "data": {"document_id": "b", "text": "t"}}'
    )
    assert _rejection(twice, STRUCTURED) == (
        "invalid_event",
        "data: is there more than once, and only one can be meant",
    )


def test_what_nobody_reads_may_be_there_twice() -> None:
    """Producers may send fields of their own, as odd as they like."""
    value = (HEAD + '"x": 1, "x": {"y": 1, "y": 2}}').encode()
    assert read_record(key=None, value=value, headers=[]).unknown_fields == ("x",)


def test_a_hundred_thousand_wrong_values_are_counted_and_not_all_validated() -> None:
    """It took half a minute, in which nothing else was done."""
    wrong = ", ".join(f'"k{number}": []' for number in range(100_000))
    _, message = _rejection(HEAD + f'"metadata": {{{wrong}}}}}')
    assert message.startswith("metadata.k0: must be a string")
    assert message.endswith("and 99995 more")


NUMBERS = st.integers(-(10**4_299), 10**4_299) | st.floats() | st.sampled_from([10**4_298, -0.0, 1e308, 2**63, 2**64])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
NAMES = st.sampled_from(["document_id", "text", "metadata", "schema_version", "x"]) | st.text(max_size=3)


@given(pairs=st.lists(st.tuples(NAMES, VALUES), max_size=7), ascii_only=st.booleans())
@settings(max_examples=examples(150))
async def test_nothing_is_unexpected(pairs: list[tuple[str, Any]], *, ascii_only: bool) -> None:
    """Whatever JSON holds, twice or not: a result, or a dead letter with a reason of the record's."""
    pairs = [("document_id", "d"), ("text", "A text."), *pairs] if len(pairs) % 2 else pairs
    written = ", ".join(
        f"{json.dumps(name, ensure_ascii=ascii_only)}: {json.dumps(value, ensure_ascii=ascii_only)}"
        for name, value in pairs
    )
    line = Line()
    await line.process(record(f"{{{written}}}".encode("utf-8", errors="surrogatepass")))
    (outgoing,) = line.sink.published
    reasons = [value for name, value in outgoing.headers if name == "__docsluice.errors.reason"]
    assert outgoing.topic == RESULTS or reasons[0] in {b"undecodable", b"invalid_event"}
