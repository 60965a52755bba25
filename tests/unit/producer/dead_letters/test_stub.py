"""Dead letters that do not have all of their record: shown for what they are, and sent again with the original."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from docsluice_producer.dead_letters.document import exported
from docsluice_producer.dead_letters.redriving import Forecast, redriven_headers
from docsluice_producer.dead_letters.showing import _lines
from docsluice_producer.dead_letters.stub import Stub, stub_of
from tests.fakes.dead_letters import event, fetched, letter
from tests.fakes.outcomes import Fetched

VALUE = event("d1")
SHA256 = hashlib.sha256(VALUE).hexdigest()
KNOWN: dict[str, Any] = {"stub": "headers,value", "value_bytes": "24117248", "value_sha256": SHA256}


def _stub(value: bytes = b"", **changed: Any) -> Stub:
    found = stub_of(letter(fetched(1, value=value, **{**KNOWN, **changed})))
    assert found is not None
    return found


def test_a_whole_one_is_no_stub() -> None:
    """Nor is one whose header says nothing that we know."""
    assert stub_of(letter()) is None
    assert stub_of(letter(fetched(1, stub="soul"))) is None


def test_show_says_what_was_left_out_and_where_the_original_is() -> None:
    """And not that there is no document in it."""
    lines = list(_lines(letter(fetched(1, value=b"", **KNOWN)), "documents.dlq", bounded=True, with_trace=False))
    assert (
        f"value left out, 24,117,248 bytes, sha256 {SHA256}, and its headers; original at documents/0@1, as long as"
        " that topic keeps it"
    ) in lines
    assert not any(line.startswith("value, which is no document") for line in lines)


def test_show_has_the_value_where_only_other_parts_were_left_out() -> None:
    """With a line that says which."""
    shown = fetched(1, stub="headers,key")
    lines = list(_lines(letter(shown), "documents.dlq", bounded=True, with_trace=False))
    assert "left out: headers and key; original at documents/0@1, as long as that topic keeps it" in lines
    assert "  The text." in lines


def test_a_stub_is_listed_and_exported_without_a_value() -> None:
    """An empty value would look like the record's own."""
    fields = exported(letter(fetched(1, value=b"", **KNOWN)))
    assert (fields["left_out"], fields["value_bytes"]) == (["headers", "value"], 24117248)
    assert "value" not in fields
    assert "text" not in fields


@pytest.mark.parametrize(
    ("stub", "original", "why"),
    [
        (_stub(), Fetched(value=VALUE), None),
        (_stub(), Fetched(value=b"another"), "the record at documents/0@1 is another one"),
        (_stub(), None, "its original at documents/0@1 is gone"),
        (_stub(value_sha256=None), Fetched(value=VALUE), "nothing is known of its value"),
        (_stub(VALUE, stub="headers", value_sha256=None), Fetched(value=VALUE), None),
        (_stub(VALUE, stub="headers", value_sha256=None), Fetched(value=b"another"), "is another one"),
    ],
)
def test_only_the_original_is_sent_again(stub: Stub, original: Fetched | None, why: str | None) -> None:
    """A recreated topic has other records in the same places."""
    found = stub.why_not(original)
    assert (found is None) if why is None else (found is not None and why in found)


def test_the_original_brings_its_own_headers() -> None:
    """The origin and the cost come from the dead letter, and what went wrong in an earlier run does not go back."""
    own = [("own", b"1"), ("__docsluice.errors.offset", b"99"), ("__docsluice.errors.reason", b"x")]
    headers = redriven_headers(fetched(7, **KNOWN).headers, replays=2, own=own)
    said = dict(headers)
    assert headers[0] == ("own", b"1")
    assert said["__docsluice.errors.offset"] == b"7"
    assert said["__docsluice.errors.replay_count"] == b"2"
    assert "__docsluice.errors.reason" not in said
    assert "__docsluice.errors.stub" not in said


def test_a_forecast_says_that_originals_are_needed() -> None:
    """Before anybody relies on them."""
    forecast = Forecast()
    for one in (fetched(1), fetched(2, value=b"", **KNOWN)):
        forecast.add(letter(one))
    assert forecast.sentences[-1].startswith("1 of them without all of the record")
