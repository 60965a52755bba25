"""Bytes to a document event: every accepted form, and a reason for all that is none."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import DocumentEvent, Headers, Stage
from docsluice.validation.record_bytes import wide_encoding
from docsluice_consumer.decode.decode import decode, read_record
from docsluice_consumer.errors import RecordRejected
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
    """Key, subject, id, in this order. A name keeps its case."""
    assert _decode(b"T", key=key, headers=headers, content_type="text/plain").document_id == named


def test_header_names_are_read_without_regard_to_case() -> None:
    """Some clients write Content-Type, and where a header is repeated the last one holds."""
    headers = [("content-type", b"application/json"), ("Content-Type", b"text/plain")]
    assert _decode(b"T", headers=headers).text == "T"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "the value is empty"),
        (b" \r\n", "the value is empty"),
        (b"\xef\xbb\xbf", "the value is empty"),
        (b"not JSON at all", "not JSON"),
        (PLAIN[:-1], "not JSON"),
        (b'{"document_id": "d", "text": "\xff\xfe"}', "not valid UTF-8 at byte 30"),
        (PLAIN.decode().encode("utf-16"), "in UTF-16LE, not in UTF-8: have the producer write UTF-8"),
        (PLAIN.decode().encode("utf-16-le"), "in UTF-16LE"),
        (PLAIN.decode().encode("utf-16-be"), "in UTF-16BE"),
        (PLAIN.decode().encode("utf-32"), "in UTF-32LE"),
        (PLAIN.decode().encode("utf-32-be"), "in UTF-32BE"),
        (
            gzip.compress(PLAIN, mtime=0),
            "compressed with gzip: have the producer write the plain JSON or text; Kafka's own",
        ),
        (zlib.compress(PLAIN), "compressed with zlib"),
        (b"%PDF-1.7 " + PLAIN, "the value is a PDF"),
        (b"PK\x03\x04\xff", "the value is a ZIP archive"),
        (b"PK\x03\x04\x14\x00\x06\x00", "the value is a ZIP archive"),
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
    ([EVENT], "the event: must be a mapping of names to values, not a list: send each event as a record of its own"),
    (json.dumps(EVENT), "not a string that holds JSON: it was encoded twice"),
    ({"document_id": "d", "txet": SECRET_TEXT}, "text: missing; is txet meant for text?"),
    ({"documentId": "d", "Text": SECRET_TEXT}, "is documentId meant for document_id? is Text meant for text?"),
    ({"schema": {}, "payload": EVENT}, "document_id: missing; text: missing; there is schema, payload instead"),
    ({**EVENT, "text": 7, "schema_version": 2}, "it says schema_version 2, and this release knows 1"),
    ({**EVENT, "schema_version": 0}, "schema_version: must be at least 1"),
    ({**EVENT, "schema_version": -1}, "schema_version: must be at least 1"),
    ({**EVENT, "schema_version": 1.5}, "schema_version: must be a whole number"),
    ({**EVENT, "schema_version": True}, "schema_version: must be a whole number"),
    ({**EVENT, "schema_version": None}, "schema_version: must be a whole number"),
    ({**EVENT, "schema_version": "1"}, "schema_version: must be a whole number"),
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
        (_envelope(data_base64="/f79"), "undecodable", "not valid UTF-8"),
        (_envelope(data_base64="/f79", datacontenttype="text/plain"), "undecodable", "not valid UTF-8"),
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


@pytest.mark.parametrize("content_type", ["", "application/json; charset=utf-8", "application/json; charset=latin1"])
def test_a_byte_order_mark_before_json_is_no_fault(content_type: str) -> None:
    """Producers on .NET and PowerShell write one."""
    assert _decode(codecs.BOM_UTF8 + PLAIN, content_type=content_type) == EXPECTED


def test_a_byte_order_mark_before_text_is_not_put_to_the_model() -> None:
    """As a value, in an envelope, and in base64."""
    marked = codecs.BOM_UTF8 + b"T"
    structured = "application/cloudevents+json"
    assert _decode(marked, content_type="text/plain; charset=UTF-8").text == "T"
    for data in ({"data": "\ufeffT"}, {"data_base64": base64.b64encode(marked).decode()}):
        assert _decode(_envelope(datacontenttype="text/plain", **data), content_type=structured).text == "T"


@pytest.mark.parametrize(
    ("text", "charset", "words"),
    [
        ("h\u00e9llo", "iso-8859-1", "not valid UTF-8 at byte 1, and the content-type says charset=iso-8859-1"),
        ("\u65e5\u672c", "Shift_JIS", "charset=shift_jis: have the producer write UTF-8"),
        ("\u65e5\u672c", "iso-2022-jp", "is in iso-2022-jp, as the content-type says, not in UTF-8"),
        ("plain", "utf-16", "in UTF-16LE"),
        ("h\u00e9llo", "utf-7", "is in utf-7, as the content-type says"),
    ],
)
def test_another_charset_is_named(text: str, charset: str, words: str) -> None:
    """Read as UTF-8 it would be another text, or none. The message says what to change."""
    rejection = _rejection(text.encode(charset), content_type=f"text/plain; charset={charset}")
    assert rejection.reason == "undecodable"
    assert words in str(rejection)


@pytest.mark.parametrize("charset", ["iso-8859-1", "ascii", "us-ascii", "windows-1252", "no-such", "zip", '"utf-8"'])
def test_a_charset_that_is_named_wrongly_is_not_believed(charset: str) -> None:
    """Valid UTF-8 beyond ASCII is hardly ever anything else."""
    text = "Ti\u1ebfng Vi\u1ec7t"
    assert _decode(text.encode(), content_type=f"text/plain; charset={charset}").text == text


CONFLUENT, APICURIO, GLUE = b"\x00\x00\x00\x00\x07", b"\x00" + b"\x00" * 7 + b"\x07", b"\x03\x00" + b"i" * 16


@pytest.mark.parametrize("frame", [CONFLUENT, APICURIO, GLUE])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_json_behind_a_schema_registrys_frame_is_read(frame: bytes, mark: bytes) -> None:
    """JSON Schema serializers write the schema's id and then plain JSON."""
    assert _decode(frame + mark + PLAIN) == EXPECTED


@given(st.integers(0, 2**32 - 1) | st.sampled_from([256, 65_536, 2**24, 0x41004200]))
def test_json_behind_a_frame_is_read_whatever_its_schemas_id(schema: int) -> None:
    """Some ids look as if UTF-16 or UTF-32 began."""
    assert _decode(b"\x00" + schema.to_bytes(4, "big") + b'{"document_id":"d","text":"T"}').text == "T"


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (b"\x00\x00\x00\x01\x07\x08avr", "schema id 263"),
        (b"\x00\x00\x01\x00\x02\x00\x00\x01", "schema id 65538"),
        (CONFLUENT + b"\x08avro\x02x", "schema id 7"),
        (CONFLUENT + b"\x00\x0a\x05proto", "schema id 7"),
        (CONFLUENT + PLAIN[:-1], "schema id 7"),
        (GLUE + b"\x08avro", "schema id " + "69" * 16),
        (b"\x03\x05" + b"i" * 16 + zlib.compress(PLAIN), "schema id " + "69" * 16),
    ],
)
def test_a_schema_registrys_frame_is_named(value: bytes, schema: str) -> None:
    """What is behind it cannot be read, and the message says why, with the id to look up."""
    rejection = _rejection(value)
    assert rejection.reason == "undecodable"
    assert f"the value has a schema registry's frame, {schema}, not JSON" in str(rejection)


@pytest.mark.parametrize("version", [2, 3, 10**20])
def test_an_event_of_a_later_version_is_read(version: int) -> None:
    """As far as it is known here. The side that is upgraded first must not make dead letters of the other's records."""
    event = _decode({**EVENT, "schema_version": version, "language": "en"})
    assert event.model_copy(update={"schema_version": 1}) == EXPECTED


def test_unknown_fields_are_left_out_and_told() -> None:
    """In the order of the event. The event itself is as without them."""
    value = json.dumps({"a": 1, **EVENT, "txet": SECRET_TEXT}).encode()
    assert read_record(key=None, value=value, headers=()) == (EXPECTED, ("a", "txet"))
    assert read_record(key=None, value=PLAIN, headers=()) == (EXPECTED, ())


def test_a_header_without_a_value_is_no_header() -> None:
    """A null says nothing of the content."""
    assert _decode(PLAIN, headers=[("content-type", None), ("ce_id", None)]) == EXPECTED


def test_a_large_document_is_decoded() -> None:
    """Five megabytes are no fault of the bytes. Whether they fit the model is decided later."""
    assert len(_decode({"document_id": "d", "text": "x" * 5_000_000}).text) == 5_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "T", **{f"field-{number}": SECRET_TEXT for number in range(5000)}},
        {"text": "T", **{f"{number:04}" + "document_id" * 50: 1 for number in range(5000)}},
        {"text": "T", "schema_version": 10**4000},
        {**EVENT, "metadata": {f"field-{number}": None for number in range(5000)}},
        {"text": "T", "f" * 500_000: 1},
        {**EVENT, "metadata": {"f" * 500_000: None}},
    ],
)
def test_the_message_stays_short(fields: dict[str, Any]) -> None:
    """A record made of misspelt fields still has a message that fits a header, or its dead letter could not be sent."""
    assert len(str(_rejection(fields))) < 1000


def test_the_document_is_not_in_the_stack_trace() -> None:
    """A rejection carries no cause that quotes the input."""
    rejection = _rejection({**EVENT, "text": [SECRET_TEXT]})
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
    expected = _decode(plain)
    assert _decode(_envelope(data=event), content_type=structured) == expected
    in_base64 = _envelope(data_base64=base64.b64encode(plain).decode())
    assert _decode(in_base64, content_type=structured) == expected


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
