"""Bytes to a document event: every accepted form, and a reason for all that is none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.contracts import DocumentEvent, Headers, Stage
from consumer.decode import decode
from consumer.errors import RecordRejected
from tests.fakes.samples import SECRET_TEXT

EVENT = {"document_id": "doc-1", "text": SECRET_TEXT, "metadata": {"lang": "en", "pages": 3, "score": 0.5, "ok": True}}
EXPECTED = DocumentEvent.model_validate(EVENT)
PLAIN = json.dumps(EVENT).encode()
SUBJECT_IS_ID = DocumentEvent(document_id="doc-1", text=SECRET_TEXT)


def _decode(
    value: bytes | dict[str, Any], *, headers: Headers = (), key: bytes | None = b"doc-1", content_type: str = ""
) -> DocumentEvent:
    added = [("content-type", content_type.encode())] if content_type else []
    return decode(
        key=key,
        value=value if isinstance(value, bytes) else json.dumps(value).encode(),
        headers=[*headers, *added],
    )


def _rejection(value: bytes | dict[str, Any], **more: Any) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        _decode(value, **more)
    assert caught.value.stage is Stage.DECODE
    assert SECRET_TEXT[:12] not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def _envelope(**fields: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "t", "subject": "doc-1", **fields}


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "Application/JSON; charset=UTF-8", "application/vnd.acme+json", "something/else"],
)
def test_plain_json(content_type: str) -> None:
    """JSON is read whatever the content type calls it, with metadata as it was sent."""
    assert _decode(PLAIN, content_type=content_type) == EXPECTED


def test_metadata_may_be_left_out() -> None:
    """An identifier and a text are all that a document needs."""
    event = _decode({"document_id": "doc-1", "text": "T"})
    assert event == DocumentEvent(document_id="doc-1", text="T", metadata={}, schema_version=1)


def test_metadata_keeps_its_types() -> None:
    """A number stays a number and a boolean a boolean, for they are echoed in the result."""
    metadata = _decode(PLAIN).metadata
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
    assert _decode(PLAIN, headers=headers, content_type="application/json") == EXPECTED


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
    assert _decode(_envelope(data=EVENT), content_type=content_type) == EXPECTED


@pytest.mark.parametrize("data_type", [None, "application/json", "Application/Json; charset=utf-8"])
def test_cloudevents_structured_in_base64(data_type: str | None) -> None:
    """Data that travels as base64 is the same event."""
    fields = {"data_base64": base64.b64encode(PLAIN).decode()} | ({"datacontenttype": data_type} if data_type else {})
    assert _decode(_envelope(**fields), content_type="application/cloudevents+json") == EXPECTED


@pytest.mark.parametrize("data_type", ["text/plain", "Text/Plain; charset=utf-8"])
@pytest.mark.parametrize(
    "data", [{"data": SECRET_TEXT}, {"data_base64": base64.b64encode(SECRET_TEXT.encode()).decode()}]
)
def test_cloudevents_structured_with_plain_text(data: dict[str, str], data_type: str) -> None:
    """Plain text as data is the document's text, and the subject its identifier."""
    envelope = _envelope(datacontenttype=data_type, **data)
    assert _decode(envelope, content_type="application/cloudevents+json") == SUBJECT_IS_ID


def test_cloudevents_without_a_subject_is_named_by_its_id() -> None:
    """A plain text event without a subject still has an identifier of its own."""
    envelope = _envelope(datacontenttype="text/plain", data="T")
    del envelope["subject"]
    assert _decode(envelope, content_type="application/cloudevents+json").document_id == "e-1"


@pytest.mark.parametrize("content_type", ["text/plain", "TEXT/PLAIN; charset=utf-8", " text/plain"])
def test_plain_text_is_named_by_its_key(content_type: str) -> None:
    """The value is the text, untouched, and the key the identifier."""
    text = f"  {SECRET_TEXT}\n\nTiếng Việt. "
    event = _decode(text.encode(), content_type=content_type)
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
    """Key, subject, id, in this order; a name keeps its case."""
    assert _decode(b"T", key=key, headers=headers, content_type="text/plain").document_id == named


def test_header_names_are_read_without_regard_to_case() -> None:
    """Some clients write Content-Type, and where a header is repeated the last one holds."""
    headers = [("content-type", b"application/json"), ("Content-Type", b"text/plain")]
    assert _decode(b"T", headers=headers).text == "T"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "not JSON"),
        (b"not JSON at all", "not JSON"),
        (PLAIN[:-1], "not JSON"),
        (b"\xef\xbb\xbf" + PLAIN, "BOM"),
        (b'{"document_id": "d", "text": "\xff\xfe"}', "not valid UTF-8 at byte 30"),
        (PLAIN.decode().encode("utf-16"), "not valid UTF-8 at byte 0"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"document_id": "d", "text": "T", "metadata": {"n": ' + b"9" * 5000 + b"}}", "not JSON"),
        (rb'{"document_id": "d", "text": "\ud800"}', "not valid Unicode"),
        (rb'{"document_id": "\udfff", "text": "T"}', "not valid Unicode"),
        (rb'{"document_id": "d", "text": "T", "metadata": {"\ud800": 1}}', "not valid Unicode"),
        (rb'{"document_id": "d", "text": "T", "metadata": {"a": "\ud800"}}', "not valid Unicode"),
    ],
)
def test_bytes_that_cannot_be_read_are_undecodable(value: bytes, words: str) -> None:
    """What is no JSON, or no text, is told apart from JSON that is no event."""
    rejection = _rejection(value)
    assert rejection.reason == "undecodable"
    assert words in str(rejection)


BAD_EVENTS: list[tuple[Any, str]] = [
    (None, "the event: "),
    ([EVENT], "the event: "),
    ("text", "the event: "),
    (7, "the event: "),
    ({}, "document_id: missing; text: missing"),
    ({"document_id": "d"}, "text: missing"),
    ({"text": SECRET_TEXT}, "document_id: missing"),
    ({**EVENT, "text": " \n\t "}, "text: must not be blank"),
    ({**EVENT, "text": ""}, "text: must not be blank"),
    ({**EVENT, "document_id": " "}, "document_id: must not be blank"),
    ({**EVENT, "document_id": None}, "document_id: must be a string"),
    ({**EVENT, "document_id": 17}, "document_id: must be a string"),
    ({**EVENT, "text": [SECRET_TEXT]}, "text: must be a string"),
    ({**EVENT, "text": {"en": SECRET_TEXT}}, "text: must be a string"),
    ({**EVENT, "txet": SECRET_TEXT}, "txet: unknown field; known are: document_id, text, metadata, schema_version"),
    ({**EVENT, "schema_version": 2}, "schema_version: must be 1"),
    ({**EVENT, "schema_version": "1"}, "schema_version: must be 1"),
    ({**EVENT, "metadata": SECRET_TEXT}, "metadata: must be a mapping of names to values"),
    ({**EVENT, "metadata": {"a": {"b": SECRET_TEXT}}}, "metadata.a: must be a string, a finite number or a boolean"),
    ({**EVENT, "metadata": {"a": [1]}}, "metadata.a: must be a string, a finite number or a boolean"),
    ({**EVENT, "metadata": {"a": None}}, "metadata.a: must be a string, a finite number or a boolean"),
    ({**EVENT, "metadata": {"a": float("nan")}}, "metadata.a: must be a string, a finite number or a boolean"),
    ({**EVENT, "metadata": {"a": float("inf")}}, "metadata.a: must be a string, a finite number or a boolean"),
]


@pytest.mark.parametrize(("fields", "words"), BAD_EVENTS)
def test_json_that_is_no_event_is_invalid(fields: Any, words: str) -> None:
    """Each problem is named by its field, and no message holds the document's text."""
    rejection = _rejection(json.dumps(fields).encode())
    assert rejection.reason == "invalid_event"
    assert words in str(rejection)


@pytest.mark.parametrize(
    ("envelope", "reason", "words"),
    [
        ([], "invalid_event", "specversion 1.0"),
        ({}, "invalid_event", "specversion 1.0"),
        (_envelope(specversion="0.3", data=EVENT), "invalid_event", "specversion 1.0"),
        (_envelope(), "invalid_event", "no data"),
        (_envelope(data=None), "invalid_event", "the event: "),
        (_envelope(data={"document_id": "d"}), "invalid_event", "text: missing"),
        (_envelope(data=SECRET_TEXT), "invalid_event", "the event: "),
        (_envelope(data=EVENT, datacontenttype="text/plain"), "invalid_event", "text: must be a string"),
        (_envelope(data="T", datacontenttype="text/plain", subject=7), "invalid_event", "document_id: "),
        (_envelope(data_base64="***"), "undecodable", "data_base64 is not base64"),
        (_envelope(data_base64="é"), "undecodable", "data_base64 is not base64"),
        (_envelope(data_base64=7), "undecodable", "data_base64 is not base64"),
        (_envelope(data_base64=None), "undecodable", "data_base64 is not base64"),
        (_envelope(data_base64="//79"), "undecodable", "not valid UTF-8"),
        (_envelope(data_base64="//79", datacontenttype="text/plain"), "undecodable", "not valid UTF-8"),
        (_envelope(data_base64=base64.b64encode(b"{").decode()), "undecodable", "not JSON"),
    ],
)
def test_a_structured_cloudevent_that_is_none(envelope: Any, reason: str, words: str) -> None:
    """The envelope is judged as strictly as the event inside it."""
    rejection = _rejection(json.dumps(envelope).encode(), content_type="application/cloudevents+json")
    assert rejection.reason == reason
    assert words in str(rejection)


@pytest.mark.parametrize(
    ("value", "key", "reason", "words"),
    [
        (b"T", None, "invalid_event", "needs a key"),
        (b"T", b"", "invalid_event", "needs a key"),
        (b"T", b"  ", "invalid_event", "document_id: must not be blank"),
        (b" ", b"k", "invalid_event", "text: must not be blank"),
        (b"\xff", b"k", "undecodable", "the value is not valid UTF-8 at byte 0"),
        (b"T", b"\xff", "undecodable", "the key is not valid UTF-8 at byte 0"),
    ],
)
def test_plain_text_that_is_no_document(value: bytes, key: bytes | None, reason: str, words: str) -> None:
    """Plain text needs a name, a text, and valid UTF-8 in both."""
    rejection = _rejection(value, key=key, content_type="text/plain")
    assert rejection.reason == reason
    assert words in str(rejection)


def test_a_large_document_is_decoded() -> None:
    """Five megabytes are no fault of the bytes; whether they fit the model is decided later."""
    assert len(_decode({"document_id": "d", "text": "x" * 5_000_000}).text) == 5_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {**EVENT, **{f"field-{number}": SECRET_TEXT for number in range(5000)}},
        {**EVENT, "metadata": {f"field-{number}": None for number in range(5000)}},
        {**EVENT, "f" * 500_000: 1},
        {**EVENT, "metadata": {"f" * 500_000: None}},
    ],
)
def test_the_message_stays_short(fields: dict[str, Any]) -> None:
    """A record made of misspelt fields still has a message that fits a header, or its dead letter could not be sent."""
    assert len(str(_rejection(fields))) < 1000


def test_the_document_is_not_in_the_stack_trace() -> None:
    """A rejection carries no cause that quotes the input."""
    rejection = _rejection({**EVENT, "txet": SECRET_TEXT})
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
        "schema_version": st.sampled_from([1, 2, "1"]),
        "data": JSON,
        "data_base64": st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode()) | JSON,
        "datacontenttype": st.sampled_from(["text/plain", "application/json"]) | JSON,
        "specversion": st.sampled_from(["1.0", "0.3"]),
        "subject": JSON,
        "id": JSON,
    },
)
VALUES = st.binary(max_size=200) | (JSON | EVENT_LIKE).map(lambda fields: json.dumps(fields).encode())
CONTENT_TYPES = st.sampled_from([b"application/json", b"text/plain", b"application/cloudevents+json", b"\xff"])
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
    """Whatever arrives, nothing else is raised; an event can be written again, and a message can be a header."""
    outcome = _outcome(key, value, headers)
    if isinstance(outcome, RecordRejected):
        assert outcome.reason in {"undecodable", "invalid_event"}
        assert outcome.stage is Stage.DECODE
        assert len(str(outcome)) < 1000
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
    expected = _decode(plain)
    assert _decode(_envelope(data=event), content_type=structured) == expected
    in_base64 = _envelope(data_base64=base64.b64encode(plain).decode())
    assert _decode(in_base64, content_type=structured) == expected
