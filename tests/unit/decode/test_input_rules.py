"""A topic is read as it is: the pipeline file says where in its records the fields of an event are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import DocumentEvent, Headers, Stage
from docsluice_consumer.decode.decode import ReadEvent
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import Record
from tests.fakes.decoding import EVENT, EXPECTED, PLAIN, envelope_of
from tests.fakes.samples import SECRET_TEXT, record
from tests.fakes.tickets import MAPPING, TICKET, reader_of, ticket


def _event(read: Record, **fields: Any) -> DocumentEvent:
    found = reader_of(**(fields or MAPPING)).read(read)
    assert found is not None
    assert not found.unknown_fields
    return found.event


def _rejection(read: Record, **fields: Any) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        reader_of(**(fields or MAPPING)).read(read)
    assert caught.value.stage is Stage.DECODE
    assert SECRET_TEXT[:12] not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


def test_a_ticket_is_a_document() -> None:
    """No converter stands between the topic and the service."""
    assert _event(ticket()) == DocumentEvent(
        document_id="17", text="Printer on fire\n\nIt burns.", metadata={"customer": "c-1", "tenant": "acme"}
    )


def test_a_ticket_that_is_not_asked_for_is_passed_over() -> None:
    """It is no dead letter."""
    assert reader_of(**MAPPING).read(ticket(status="closed")) is None
    assert reader_of(**MAPPING).read(ticket(status=...)) is None


def test_a_condition_may_use_headers() -> None:
    """Beside the value, in one expression."""
    reader = reader_of(**MAPPING | {"when": "status == 'open' && $headers.tenant == 'acme'"})
    assert reader.read(ticket()) is not None
    assert reader.read(ticket(headers=[("tenant", b"other")])) is None
    assert reader.read(ticket(headers=())) is None


def test_a_condition_alone_leaves_events_as_they_are() -> None:
    """Unknown fields are told as ever, and a field of the event can be asked for."""
    reader = reader_of(when="metadata.lang == 'en'")
    assert reader.read(record(PLAIN)) == ReadEvent(EXPECTED, (), json.loads(PLAIN))
    assert reader.read(record(json.dumps(EVENT | {"a": 1}).encode())) == ReadEvent(EXPECTED, ("a",), EVENT | {"a": 1})
    assert reader.read(record(json.dumps(EVENT | {"metadata": {}}).encode())) is None


@pytest.mark.parametrize(
    ("value", "document_id"),
    [
        ("a b", "a b"),
        (17, "17"),
        (-3, "-3"),
        (10**30, str(10**30)),
        (17.0, "17"),
        (0, "0"),
        (2.0**53, "9007199254740992"),
    ],
)
def test_whole_numbers_become_names(value: Any, document_id: str) -> None:
    """A table's column of numbers may come as 17.0 where one of its cells is empty."""
    assert _event(ticket(ticket_id=value)).document_id == document_id


@pytest.mark.parametrize(
    ("value", "gives"),
    [
        (..., "gives nothing"),
        (None, "gives nothing"),
        ("  ", "gives a blank text"),
        (0.5, "gives a fraction"),
        (2.0**53 + 2, "gives a fraction"),
        (1e300, "gives a fraction"),
        (float("nan"), "gives a fraction"),
        (True, "gives a boolean"),
        (["17"], "gives a list"),
        ({"id": 17}, "gives an object"),
    ],
)
def test_all_else_is_no_name(value: Any, gives: str) -> None:
    """The message names the field, its expression, and what the record has instead."""
    rejection = _rejection(ticket(ticket_id=value))
    there = "" if value is ... else "ticket_id, "
    fields = f"the record has {there}subject, body, status, customer"
    assert str(rejection) == f"document_id: ticket_id: {gives}; {fields}"
    assert rejection.reason == "invalid_event"


@pytest.mark.parametrize(
    ("text", "given_fields", "problem"),
    [
        ("{{ subject }}\n\n{{ body }}", {"subject": "", "body": None}, "text: {{ subject }} {{ body }}: gives a blank"),
        ("body", {"body": ...}, "text: body: gives nothing; the record has ticket_id, subject, status, customer"),
        ("length(ticket_id)", {}, "text: length(ticket_id): length() takes string or array or object, not number;"),
        ("ticket_id", {"ticket_id": float("inf")}, "text: ticket_id: it gives a number that is not finite;"),
    ],
)
def test_a_record_without_text_is_told(text: str, given_fields: dict[str, Any], problem: str) -> None:
    """In one line, with the expression as it is written."""
    rejection = _rejection(ticket(**given_fields), document_id="'d'", text=text)
    assert str(rejection).startswith(problem)
    assert rejection.reason == "invalid_event"


def test_a_text_may_be_anything_that_has_words() -> None:
    """A list or an object is put to the model as JSON, and so is the whole value."""
    assert _event(ticket(), document_id="ticket_id", text="customer").text == '{"id":"c-1","vip":true}'
    assert json.loads(_event(ticket(), document_id="ticket_id", text="@").text) == TICKET


def test_metadata_are_plain_values() -> None:
    """Null is left out, a list or an object becomes text, and all else keeps its type."""
    fields: dict[str, Any] = {
        "s": "é",
        "n": 1,
        "f": 0.5,
        "b": False,
        "null": None,
        "list": [1, "a"],
        "object": {"a": {}},
    }
    metadata: dict[str, Any] = {name: name for name in (*fields, "missing")} | {
        "templated": "{{ n }}!",
        "constant": "'shop'",
    }
    metadata["null"] = '"null"'
    event = _event(ticket(**fields), document_id="ticket_id", text="body", metadata=metadata)
    assert event.metadata == {
        "s": "é",
        "n": 1,
        "f": 0.5,
        "b": False,
        "list": '[1,"a"]',
        "object": '{"a":{}}',
        "templated": "1!",
        "constant": "shop",
    }
    assert [type(event.metadata[name]) for name in ("n", "f", "b")] == [int, float, bool]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metadata_are_finite(value: float) -> None:
    """A number that JSON does not have could not be written into the result."""
    rejection = _rejection(ticket(n=value), document_id="ticket_id", text="body", metadata={"n": "n"})
    assert str(rejection) == "metadata.n: must be a string, a finite number or a boolean"


def test_what_is_not_mapped_is_where_an_event_has_it() -> None:
    """A topic of events may take its metadata from headers, and one of texts its names from offsets."""
    read = record(PLAIN, headers=[("tenant", b"acme")])
    event = _event(read, metadata={"tenant": "$headers.tenant"})
    assert (event.document_id, event.text, event.metadata) == ("doc-1", SECRET_TEXT, {"tenant": "acme"})
    text = record(b"T", key=None, headers=[("content-type", b"text/plain")])
    assert _event(text, document_id="{{ $topic }}/{{ $partition }}@{{ $offset }}") == DocumentEvent(
        document_id="documents/3@42", text="T"
    )
    assert _event(record(b"T", headers=text.headers), metadata={}) == DocumentEvent(document_id="doc-1", text="T")


def test_all_that_is_beside_the_value_has_a_name() -> None:
    """A header of bytes is read as far as it is text, and where one is repeated the last counts."""
    headers: Headers = [("h", b"first"), ("h", b"\xff\xc3\xa9"), ("H", b"other"), ("none", None)]
    names = {
        "key": "$key",
        "h": "$headers.h",
        "none": "$headers.none",
        "topic": "$topic",
        "partition": "$partition",
        "offset": "$offset",
        "timestamp": "$timestamp",
        "value": "$value",
    }
    event = _event(ticket(headers=headers), document_id="ticket_id", text="body", metadata=names)
    assert event.metadata == {
        "key": "doc-1",
        "h": "\ufffdé",
        "topic": "documents",
        "partition": 3,
        "offset": 42,
        "timestamp": 1_700_000_000_123,
    }


def test_what_a_record_does_not_have_is_null() -> None:
    """A record without a key, and one without a timestamp."""
    oldest = record(json.dumps(TICKET).encode(), timestamp_ms=0)
    assert _event(oldest, document_id="$timestamp", text="body").document_id == "0"
    read = record(json.dumps(TICKET).encode(), key=None, timestamp_ms=-1)
    event = _event(read, document_id="$key || 'none'", text="body", metadata={"at": "$timestamp"})
    assert (event.document_id, event.metadata) == ("none", {})


def test_a_key_that_is_no_text_is_a_fault_only_where_it_is_used() -> None:
    """Two such keys could otherwise become one name."""
    read = record(json.dumps(TICKET).encode(), key=b"\xff\x00\x01")
    assert _event(read).document_id == "17"
    rejection = _rejection(read, document_id="$key", text="body")
    assert (rejection.reason, str(rejection)[:8]) == ("undecodable", "the key ")
    text = record(b"T", key=b"\xff", headers=[("content-type", b"text/plain")])
    assert _event(text, document_id="'d'").text == "T"
    assert _rejection(text, when="`true`").reason == "undecodable"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=utf-8"])
def test_a_format_counts_more_than_a_content_type(content_type: str) -> None:
    """Producers often say nothing, or the wrong thing."""
    headers = [("content-type", content_type.encode())] if content_type else []
    text = _event(record(b"17 burns", headers=headers), format="text", metadata={"all": "$value"})
    assert text == DocumentEvent(document_id="doc-1", text="17 burns", metadata={"all": "17 burns"})
    assert _event(record(PLAIN, headers=headers), format="json") == EXPECTED


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "windows-1252", "UTF-8", "iso-8859-1"])
def test_a_charset_that_is_named_is_believed(charset: str) -> None:
    """For JSON as for text, whatever the content type says."""
    text = "é: It burns."
    headers = [("content-type", b"text/plain; charset=koi8-r")]
    as_text = record(text.encode(charset), headers=headers)
    assert _event(as_text, charset=charset).text == text
    as_json = record(json.dumps({"document_id": "d", "text": text}, ensure_ascii=False).encode(charset))
    assert _event(as_json, charset=charset).text == text


def test_a_content_type_does_not_say_otherwise() -> None:
    """The pipeline file is the user's, and the header somebody else's."""
    headers = [("content-type", b"text/plain; charset=utf-16")]
    assert _event(record(b"It burns", headers=headers), charset="utf-8").text == "It burns"


def test_bytes_of_another_charset_are_told() -> None:
    """With the charset that was expected of them."""
    rejection = _rejection(record(b"abc"), format="text", charset="utf-16")
    assert str(rejection) == "the value is not valid utf-16, the charset that the pipeline file names"
    assert rejection.reason == "undecodable"
    halved = _rejection(record(b"+2AA-"), format="text", charset="utf-7")
    assert halved.reason == "undecodable"


def test_an_envelope_is_opened_first() -> None:
    """The mapping sees a CloudEvent's data, and in binary mode its attributes as headers."""
    mapped = MAPPING | {"metadata": {"event": "$headers.ce_id"}}
    content_type = ("content-type", b"application/cloudevents+json")
    data = base64.b64encode(json.dumps(TICKET).encode()).decode()
    for envelope in (envelope_of(data=TICKET), envelope_of(data_base64=data)):
        for headers in ([content_type], []):
            event = _event(record(json.dumps(envelope).encode(), headers=headers), **mapped)
            assert (event.document_id, event.metadata) == ("17", {})
    binary = ticket(headers=[("ce_specversion", b"1.0"), ("ce_id", b"e-1")])
    assert _event(binary, **mapped).metadata == {"event": "e-1"}


def test_a_text_in_an_envelope_has_a_value() -> None:
    """As a text that came by itself."""
    envelope = envelope_of(datacontenttype="text/plain", data="T")
    event = _event(record(json.dumps(envelope).encode()), metadata={"all": "$value"})
    assert (event.document_id, event.text, event.metadata) == ("doc-1", "T", {"all": "T"})


def test_a_strict_topic_has_no_unknown_fields() -> None:
    """Those of an event that nobody knows are a dead letter there, which names them and no value."""
    reader = reader_of(strict=True)
    assert reader.read(record(PLAIN)) == ReadEvent(EXPECTED, (), json.loads(PLAIN))
    rejection = _rejection(record(json.dumps(EVENT | {"a": SECRET_TEXT, "b": 1}).encode()), strict=True)
    assert str(rejection) == "has unknown fields, and input.strict allows none: a, b"
    assert rejection.reason == "invalid_event"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"[1]", "the record's value is a list"),
        (b"null", "the record's value is null"),
        (b'"words"', "the record's value is a string"),
        (b"{}", "the record has no fields"),
    ],
)
def test_a_value_that_is_no_object_has_no_fields(value: bytes, problem: str) -> None:
    """It says so."""
    assert str(_rejection(record(value), document_id="id", text="t")) == f"document_id: id: gives nothing; {problem}"


def test_a_list_may_be_mapped() -> None:
    """An expression need not begin with a field."""
    event = _event(record(b'["d", {"t": "T"}]'), document_id="[0]", text="[1].t")
    assert event == DocumentEvent(document_id="d", text="T")


def test_a_field_that_comes_twice_is_a_fault_only_where_it_is_used() -> None:
    """As in an event."""
    twice = b'{"ticket_id": 1, "body": "T", "x": 1, "x": 2, "status": "open", "customer": {"id": 1, "id": 2}}'
    assert _event(record(twice), document_id="ticket_id", text="body").text == "T"
    rejection = _rejection(record(twice))
    assert str(rejection).startswith("metadata.customer: customer.id: id: is there more than once")


def test_names_of_fields_are_bounded() -> None:
    """A record may have thousands, each as long as it likes."""
    ten = {f"n{n}": 1 for n in range(10)}
    for fields in (ten, ten | {"n10": 1}):
        message = str(_rejection(record(json.dumps(fields).encode()), document_id="a", text="b"))
        assert message.endswith("n8, n9" if len(fields) == 10 else "n8, n9 and more")
    source = f"'{'x' * 200}' && a"
    message = str(_rejection(record(b"{}"), document_id=source, text="b"))
    assert message == f"document_id: {source[:100]}: gives nothing; the record has no fields"
    fields = {f"{n}\n{'x' * 1_000}": 1 for n in range(1000)}
    message = str(_rejection(record(json.dumps(fields).encode()), document_id="a", text="b"))
    assert message.endswith(" and more")
    assert len(message) < 1000


@pytest.mark.parametrize(
    "value",
    [
        b'{"ticket_id": 1, "body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"ticket_id": 1, "body": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        b'{"ticket_id": ' + b"9" * 5000 + b', "body": "T"}',
        b'{"ticket_id": 1, "body": "\\ud800"}',
        b'{"ticket_id": "\\udfff", "body": "T"}',
        b'{"ticket_id": 1e999, "body": "T"}',
        b'{"ticket_id": NaN, "body": "T"}',
    ],
)
def test_a_hostile_record_costs_itself_only(value: bytes) -> None:
    """It is an event or a rejection, and nothing else is raised."""
    try:
        event = _event(record(value), document_id="ticket_id", text="to_string(body)", metadata={"body": "body"})
    except RecordRejected as rejection:
        assert len(str(rejection)) < 1000  # noqa: PT017 - either end is right
    else:
        event.model_dump_json()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
SOURCES = st.sampled_from(
    ["a", "a.b", "@", "$key", "$headers.h", "{{ a }}{{ b }}", "{{ $value }}", "length(a)", "a[*].b", "a < b", "keys(@)"]
)
MAPPINGS = st.fixed_dictionaries(
    {},
    optional={
        "document_id": SOURCES,
        "text": SOURCES,
        "metadata": st.dictionaries(st.text(min_size=1, max_size=3).filter(str.strip), SOURCES, max_size=3),
        "when": st.sampled_from(["a", "a < b", "$headers.h == 'x'", "length(@) > `0`", "!a"]),
        "format": st.sampled_from(["json", "text"]),
        "charset": st.sampled_from(["utf-16", "utf-8", "utf-7", "hz", "iso-2022-jp"]),
    },
)
VALUES = st.binary(max_size=60) | JSON.map(lambda fields: json.dumps(fields).encode())
HEADERS = st.lists(
    st.tuples(st.sampled_from(["h", "x", "ce_id"]), st.none() | st.binary(max_size=8))
    | st.tuples(st.just("content-type"), st.sampled_from([b"text/plain", b"application/cloudevents+json"])),
    max_size=4,
)


@given(fields=MAPPINGS, key=st.none() | st.binary(max_size=8), value=VALUES, headers=HEADERS)
def test_any_record_under_any_mapping_is_an_event_or_a_rejection(
    fields: dict[str, Any], key: bytes | None, value: bytes, headers: Headers
) -> None:
    """Or it is passed over. Nothing else is raised. An event can be written, and a message can be a header."""
    try:
        read = reader_of(**fields).read(record(value, key=key, headers=headers))
    except RecordRejected as rejection:
        said = str(rejection)[:1000]
        assert rejection.reason in {"undecodable", "invalid_event"}  # noqa: PT017 - either end is right
    else:
        said = read.event.model_dump_json() if read else "{}"
        assert read is None or DocumentEvent.model_validate_json(said) == read.event
        said = "event"
    assert said
    assert said.isprintable()
