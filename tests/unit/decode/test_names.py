"""The name of a record that failed, for its dead letter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docsluice_consumer.bootstrap import input_rules_of
from docsluice_consumer.decode.decode import RecordReader
from tests.fakes.samples import pipeline_file, record
from tests.fakes.tickets import MAPPING, reader_of, ticket


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "17"),
        ({"subject": ..., "body": ...}, "17"),
        ({"ticket_id": "T-18"}, "T-18"),
        ({"ticket_id": ...}, ""),
        ({"ticket_id": 1.5}, ""),
        ({"ticket_id": " "}, ""),
        ({"status": "closed"}, "17"),
    ],
)
def test_a_mapping_tells_it_where_it_can(more: dict[str, Any], name: str) -> None:
    """Whatever else is missing."""
    assert reader_of(**MAPPING).name_in(ticket(**more)) == name


@pytest.mark.parametrize("value", [b"no JSON", b"[1]", b"\xff", b"", json.dumps({"ticket_id": {"a": 1}}).encode()])
def test_no_record_is_too_odd_for_it(value: bytes) -> None:
    """It is asked while a dead letter is made, which must not fail."""
    assert reader_of(**MAPPING).name_in(record(value)) == ""


def test_an_event_tells_its_name_itself() -> None:
    """Without a mapping, the dead letter's key and value have it."""
    assert RecordReader().name_in(record(b'{"document_id": "d1", "text": " "}')) == ""


def test_a_large_record_is_not_read_for_it() -> None:
    """It was refused before it was read."""
    large = ticket(body="x" * 100)
    reader = RecordReader(rules=input_rules_of(pipeline_file(input=MAPPING)), most_bytes=50)
    assert reader.name_in(large) == ""
