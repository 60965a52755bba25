"""Events that refer to their text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.errors import RecordRejected
from tests.fakes.samples import record
from tests.fakes.tickets import reader_of


def _read(value: Any, reader: RecordReader | None = None) -> Any:
    return (reader or RecordReader()).read(record(value if isinstance(value, bytes) else json.dumps(value).encode()))


def test_a_uri_stands_in_the_place_of_a_text() -> None:
    """Until it is read. All else is as it is."""
    found = _read({"document_id": "d", "uri": "s3://b/a", "metadata": {"a": 1}, "more": 2})
    assert found.is_reference
    assert (found.event.text, found.event.metadata, found.unknown_fields) == ("s3://b/a", {"a": 1}, ("more",))


def test_beside_a_text_it_is_a_field_like_others() -> None:
    """Somebody's own, which nobody asked us to read."""
    found = _read({"document_id": "d", "text": "t", "uri": "s3://b/a"})
    assert (found.is_reference, found.event.text, found.unknown_fields) == (False, "t", ("uri",))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"document_id": "d", "uri": " "}, "uri: must be a text"),
        ({"document_id": "d", "uri": None}, "uri: must be a text"),
        ({"document_id": "d", "uri": ["s3://b/a"]}, "uri: must be a text"),
        ({"uri": "s3://b/a"}, "document_id: missing"),
        (b'{"document_id": "d", "uri": "s3://b/a", "uri": "s3://b/c"}', "uri"),
    ],
)
def test_a_place_that_is_none_is_a_dead_letter(value: Any, words: str) -> None:
    """Its message names the field."""
    with pytest.raises(RecordRejected, match=words):
        _read(value)


def test_a_mapping_says_where_the_address_is() -> None:
    """In place of the text."""
    reader = reader_of(document_id="report.number", uri="report.location")
    found = _read({"report": {"number": 17, "location": "s3://b/17"}}, reader)
    assert (found.is_reference, found.event.document_id, found.event.text) == (True, "17", "s3://b/17")
