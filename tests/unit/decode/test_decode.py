"""Bytes to a document event: every accepted form."""

from __future__ import annotations

import base64
import codecs
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import DocumentEvent, Headers, Stage
from docsluice.validation.record_bytes import wide_encoding
from docsluice_consumer.errors import RecordRejected
from tests.fakes.decoding import EVENT, EXPECTED, PLAIN, decode, decoded, envelope_of, read_record, rejection_of
from tests.fakes.samples import SECRET_TEXT

SUBJECT_IS_ID = DocumentEvent(document_id="doc-1", text=SECRET_TEXT)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "Application/JSON; charset=UTF-8", "application/vnd.acme+json", "something/else"],
)
def test_plain_json(content_type: str) -> None:
    """JSON is read whatever the content type calls it, with metadata as it was sent."""
    assert decoded(PLAIN, content_type=content_type) == EXPECTED


def test_metadata_may_be_left_out() -> None:
    """An identifier and a text are all that a document needs."""
    event = decoded({"document_id": "doc-1", "text": "T"})
    assert event == DocumentEvent(document_id="doc-1", text="T", metadata={}, schema_version=1)


def test_metadata_keeps_its_types() -> None:
    """A number stays a number and a boolean a boolean, for they are echoed in the result."""
    metadata = decoded(PLAIN).metadata
    assert {name: type(value) for name, value in metadata.items()} == {
        "lang": str,
        "pages": int,
        "score": float,
        "ok": bool,
    }


def test_cloudevents_binary() -> None:
    """In binary mode the attributes are headers and the value is the event itself."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e-1"),
        ("ce_source", b"/s"),
        ("ce_type", b"t"),
        ("ce_subject", b"other"),
    ]
    assert decoded(PLAIN, headers=headers, content_type="application/json") == EXPECTED


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents+json",
        "application/cloudevents",
        "APPLICATION/CloudEvents+JSON; charset=UTF-8",
        "  application/cloudevents+json;charset=utf-8",
    ],
)
def test_cloudevents_structured(content_type: str) -> None:
    """In structured mode the event is the envelope's data, however the content type is spelt."""
    assert decoded(envelope_of(data=EVENT), content_type=content_type) == EXPECTED


@pytest.mark.parametrize("headers", [[], [("content-type", None)], [("contentType", b"application/cloudevents+json")]])
@pytest.mark.parametrize("content_type", ["", "application/json", '"application/cloudevents+json"'])
def test_a_structured_cloudevent_is_known_by_its_attributes(headers: Headers, content_type: str) -> None:
    """Gateways leave its content type out, and Spring writes it in another header, or in quotes."""
    assert decoded(envelope_of(data=EVENT), headers=headers, content_type=content_type) == EXPECTED


def test_an_event_with_the_fields_of_a_cloudevent_is_still_an_event() -> None:
    """A producer may add fields of any name to its event."""
    assert decoded({**envelope_of(data={}), **EVENT}) == EXPECTED


@pytest.mark.parametrize("data_type", ["text/plain", '"text/plain"'])
def test_a_binary_cloudevent_may_say_its_type_as_an_attribute(data_type: str) -> None:
    """Spring writes ce_datacontenttype where the binding has content-type."""
    headers = [("ce_specversion", b"1.0"), ("ce_datacontenttype", data_type.encode())]
    assert decoded(SECRET_TEXT.encode(), headers=headers) == SUBJECT_IS_ID


@pytest.mark.parametrize("data_type", [None, "application/json", "Application/Json; charset=utf-8"])
def test_cloudevents_structured_in_base64(data_type: str | None) -> None:
    """Data that travels as base64 is the same event."""
    fields = {"data_base64": base64.b64encode(PLAIN).decode()} | ({"datacontenttype": data_type} if data_type else {})
    assert decoded(envelope_of(**fields), content_type="application/cloudevents+json") == EXPECTED


@pytest.mark.parametrize("data_type", ["text/plain", "Text/Plain; charset=utf-8"])
@pytest.mark.parametrize(
    "data", [{"data": SECRET_TEXT}, {"data_base64": base64.b64encode(SECRET_TEXT.encode()).decode()}]
)
def test_cloudevents_structured_with_plain_text(data: dict[str, str], data_type: str) -> None:
    """Plain text as data is the document's text, and the subject its identifier."""
    envelope = envelope_of(datacontenttype=data_type, **data)
    assert decoded(envelope, content_type="application/cloudevents+json") == SUBJECT_IS_ID


def test_cloudevents_without_a_subject_is_named_by_its_id() -> None:
    """A plain text event without a subject still has an identifier of its own."""
    envelope = envelope_of(datacontenttype="text/plain", data="T")
    del envelope["subject"]
    assert decoded(envelope, content_type="application/cloudevents+json").document_id == "e-1"


@pytest.mark.parametrize("content_type", ["text/plain", "TEXT/PLAIN; charset=utf-8", " text/plain"])
def test_plain_text_is_named_by_its_key(content_type: str) -> None:
    """The value is the text, untouched, and the key the identifier."""
    text = f"  {SECRET_TEXT}\n\nTiếng Việt. "
    event = decoded(text.encode(), content_type=content_type)
    assert event == DocumentEvent(document_id="doc-1", text=text)


@pytest.mark.parametrize(
    ("key", "headers", "named"),
    [
        (b"Doc/Key", [("ce_subject", b"s"), ("ce_id", b"i")], "Doc/Key"),
        (None, [("ce_subject", b"Sub"), ("ce_id", b"i")], "Sub"),
        (b"", [("CE_ID", b"I-1")], "I-1"),
    ],
)
def test_plain_text_without_a_key_is_named_by_its_cloudevent(key: bytes | None, headers: Headers, named: str) -> None:
    """Key, subject, id, in this order. A name keeps its case."""
    assert decoded(b"T", key=key, headers=headers, content_type="text/plain").document_id == named


def test_header_names_are_read_without_regard_to_case() -> None:
    """Some clients write Content-Type, and where a header is repeated the last one holds."""
    headers = [("content-type", b"application/json"), ("Content-Type", b"text/plain")]
    assert decoded(b"T", headers=headers).text == "T"


@pytest.mark.parametrize("content_type", ["", "application/json; charset=utf-8", "application/json; charset=latin1"])
def test_a_byte_order_mark_before_json_is_no_fault(content_type: str) -> None:
    """Producers on .NET and PowerShell write one, and after another program there are two."""
    assert decoded(codecs.BOM_UTF8 + PLAIN, content_type=content_type) == EXPECTED
    assert decoded(2 * codecs.BOM_UTF8 + PLAIN, content_type=content_type) == EXPECTED


def test_a_byte_order_mark_before_text_is_not_put_to_the_model() -> None:
    """As a value, in an envelope, and in base64."""
    marked = 2 * codecs.BOM_UTF8 + b"T"
    structured = "application/cloudevents+json"
    assert decoded(marked, content_type="text/plain; charset=UTF-8").text == "T"
    for data in ({"data": "\ufeff\ufeffT"}, {"data_base64": base64.b64encode(marked).decode()}):
        assert decoded(envelope_of(datacontenttype="text/plain", **data), content_type=structured).text == "T"


@pytest.mark.parametrize("version", [2, 3, 10**20])
def test_an_event_of_a_later_version_is_read(version: int) -> None:
    """As far as it is known here. The side that is upgraded first must not make dead letters of the other's records."""
    event = decoded({**EVENT, "schema_version": version, "language": "en"})
    assert event.model_copy(update={"schema_version": 1}) == EXPECTED


def test_unknown_fields_are_left_out_and_told() -> None:
    """In the order of the event. The event itself is as without them."""
    value = json.dumps({"a": 1, **EVENT, "txet": SECRET_TEXT}).encode()
    assert read_record(key=None, value=value, headers=())[:2] == (EXPECTED, ("a", "txet"))
    assert read_record(key=None, value=PLAIN, headers=())[:2] == (EXPECTED, ())


def test_a_header_without_a_value_is_no_header() -> None:
    """A null says nothing of the content."""
    assert decoded(PLAIN, headers=[("content-type", None), ("ce_id", None)]) == EXPECTED


def test_a_large_document_is_decoded() -> None:
    """Five megabytes are no fault of the bytes. Whether they fit the model is decided later."""
    assert len(decoded({"document_id": "d", "text": "x" * 5_000_000}).text) == 5_000_000


def test_the_document_is_not_in_the_stack_trace() -> None:
    """A rejection carries no cause that quotes the input."""
    rejection = rejection_of({**EVENT, "text": [SECRET_TEXT]})
    assert rejection.__cause__ is None
    assert rejection.__suppress_context__


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVENT_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "document_id": st.text() | JSON,
        "text": st.text() | JSON,
        "metadata": st.dictionaries(st.text(max_size=5), JSON, max_size=3) | JSON,
        "schema_version": st.sampled_from([1, 2, 0, "1", 10**30]) | JSON,
        "documentid": JSON,
        "data": JSON,
        "data_base64": st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode()) | JSON,
        "datacontenttype": st.sampled_from(["text/plain", "application/json"]) | JSON,
        "specversion": st.sampled_from(["1.0", "0.3"]),
        "subject": JSON,
        "id": JSON,
    },
)
WRITTEN = st.builds(
    lambda fields, encoding: json.dumps(fields, ensure_ascii=False).encode(encoding, errors="surrogatepass"),
    JSON | EVENT_LIKE,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le"]),
)
STARTS = st.sampled_from([b"", b"\x00\x00\x00\x00\x07", b"\x00" * 9, b"\x03\x00" + b"u" * 16, b"\xff\xfe", b"\x1f\x8b"])
VALUES = st.builds(lambda start, value: start + value, STARTS, st.binary(max_size=200) | WRITTEN)
CONTENT_TYPES = st.builds(
    lambda kind, charset: kind + charset,
    st.sampled_from([b"application/json", b"text/plain", b"application/cloudevents+json", b"\xff"]),
    st.sampled_from(
        [b"", b"; charset=utf-16", b"; charset=iso-8859-1", b"; charset=hz", b"; charset=\x00", b";charset=zip"]
    ),
)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["ce_subject", "ce_id", "x", "Content-Type"]), st.binary(max_size=10))
    | st.tuples(st.just("content-type"), CONTENT_TYPES),
    max_size=4,
)


def _outcome(key: bytes | None, value: bytes, headers: Headers) -> DocumentEvent | RecordRejected:
    try:
        return decode(key=key, value=value, headers=headers)
    except RecordRejected as rejection:
        return rejection


@given(key=st.none() | st.binary(max_size=20), value=VALUES, headers=HEADERS)
def test_any_bytes_are_an_event_or_a_rejection(key: bytes | None, value: bytes, headers: Headers) -> None:
    """Whatever arrives, nothing else is raised. An event can be written again, and a message can be a header."""
    outcome = _outcome(key, value, headers)
    if isinstance(outcome, RecordRejected):
        assert outcome.reason in {"undecodable", "invalid_event"}
        assert outcome.stage is Stage.DECODE
        assert 0 < len(str(outcome)) < 1000
        assert str(outcome).isprintable()
    else:
        assert DocumentEvent.model_validate_json(outcome.model_dump_json()) == outcome
        outcome.text.encode()


def _has_words(event: dict[str, Any]) -> bool:
    return bool(event["document_id"].strip() and event["text"].strip())


@given(
    event=st.fixed_dictionaries(
        {"document_id": st.text(min_size=1), "text": st.text(min_size=1)},
        optional={
            "metadata": st.dictionaries(
                st.text(), st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
            )
        },
    ).filter(_has_words)
)
def test_every_form_of_one_event_is_the_same_event(event: dict[str, Any]) -> None:
    """Plain, structured, and structured in base64: the form makes no difference."""
    plain = json.dumps(event).encode()
    structured = "application/cloudevents+json"
    expected = decoded(plain)
    assert decoded(envelope_of(data=event), content_type=structured) == expected
    in_base64 = envelope_of(data_base64=base64.b64encode(plain).decode())
    assert decoded(in_base64, content_type=structured) == expected


@given(text=st.text(st.characters(codec="utf-8")), encoding=st.sampled_from(["utf-16", "utf-32"]))
def test_a_marked_text_is_known_by_its_mark(text: str, encoding: str) -> None:
    """Whatever it holds: the name is a codec's, and the text comes back."""
    data = text.encode(encoding)
    named = wide_encoding(data)
    assert named is not None
    if not text.startswith(("\x00", "\ufeff")):  # UTF-16 and a NUL begin as UTF-32 does
        assert data.decode(named).removeprefix("\ufeff") == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_no_text_in_utf_8_is_taken_for_a_wide_one(text: str) -> None:
    """What is read today must not become a dead letter."""
    assert wide_encoding(text.encode()) is None
