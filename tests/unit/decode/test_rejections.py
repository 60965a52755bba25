"""Bytes that are no document event, and the reason that is told."""

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

from tests.fakes.decoding import EVENT, EXPECTED, PLAIN, decoded, envelope_of, rejection_of
from tests.fakes.samples import SECRET_TEXT


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
        (b"\xc3\x01" + b"\x17" * 8, "the value is Avro's single-object encoding"),
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
    rejection = rejection_of(value)
    assert rejection.reason == "undecodable"
    assert words in str(rejection)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (PLAIN + b"\n" + PLAIN, "it is a sequence of JSON values, not one"),
        (PLAIN + PLAIN, "a sequence of JSON values"),
        (b"\x1e" + PLAIN + b"\n", "a sequence of JSON values"),
        (PLAIN + b"\x00", "it is followed by zero bytes"),
        (PLAIN + b" trailing", "Extra data"),
        (PLAIN + b",\n", "it is followed by a comma"),
        (b"<?xml version='1.0'?><doc/>", "it is XML or HTML"),
        (base64.b64encode(PLAIN), "it is base64 of JSON"),
        (base64.urlsafe_b64encode(PLAIN).rstrip(b"="), "it is base64 of JSON"),
        (base64.b64encode(gzip.compress(PLAIN, mtime=0)), "it is base64 of a value compressed with gzip"),
        (base64.b64encode(b"%PDF-1.7 and so on"), "it is base64 of a PDF"),
        (base64.b64encode(b"anything at all"), "it is text"),
        (b"A letter.", "it is text, which needs the header content-type: text/plain"),
        (str(EVENT).encode(), "property name enclosed in double quotes"),
    ],
)
def test_text_that_is_no_json_is_named(value: bytes, words: str) -> None:
    """A decoder says where JSON ends, but only its kind says what the producer has to change."""
    rejection = rejection_of(value)
    assert rejection.reason == "undecodable"
    assert "the value is not JSON: " in str(rejection)
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
    ({"schema": {}, "payload": EVENT}, "an envelope of Kafka Connect: set value.converter.schemas.enable=false"),
    ({"before": None, "after": EVENT, "op": "c"}, "a change event of Debezium: unwrap it with ExtractNewRecordState"),
    ({"after": EVENT, "source": {}, "op": "c"}, "a change event of Debezium"),
    (base64.b64encode(PLAIN).decode(), "not a string that holds base64 of JSON"),
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
    rejection = rejection_of(json.dumps(fields).encode())
    assert rejection.reason == "invalid_event"
    assert words in str(rejection)


@pytest.mark.parametrize(
    ("envelope", "reason", "words"),
    [
        ([], "invalid_event", "specversion 1.0"),
        ({}, "invalid_event", "specversion 1.0"),
        ([envelope_of(data=EVENT)], "invalid_event", "send each event as a record of its own"),
        (envelope_of(specversion="0.3", data=EVENT), "invalid_event", "specversion 1.0, not 0.3"),
        (envelope_of(specversion=SECRET_TEXT, data=EVENT), "invalid_event", "specversion 1.0"),
        (envelope_of(), "invalid_event", "no data"),
        (envelope_of(data=None), "invalid_event", "the event: "),
        (envelope_of(data={"document_id": "d"}), "invalid_event", "text: missing"),
        (envelope_of(data=SECRET_TEXT), "invalid_event", "the event: "),
        (envelope_of(data=EVENT, datacontenttype="text/plain"), "invalid_event", "text: must be a string"),
        (envelope_of(data="T", datacontenttype="text/plain", subject=7), "invalid_event", "document_id: "),
        (envelope_of(data_base64="***"), "undecodable", "data_base64 is not base64"),
        (envelope_of(data_base64="é"), "undecodable", "data_base64 is not base64"),
        (envelope_of(data_base64=7), "undecodable", "data_base64 is not base64"),
        (envelope_of(data_base64=None), "undecodable", "data_base64 is not base64"),
        (envelope_of(data_base64="/f79"), "undecodable", "not valid UTF-8"),
        (envelope_of(data_base64="/f79", datacontenttype="text/plain"), "undecodable", "not valid UTF-8"),
        (envelope_of(data_base64=base64.b64encode(b"{").decode()), "undecodable", "not JSON"),
    ],
)
def test_a_structured_cloudevent_that_is_none(envelope: Any, reason: str, words: str) -> None:
    """The envelope is judged as strictly as the event inside it."""
    rejection = rejection_of(json.dumps(envelope).encode(), content_type="application/cloudevents+json")
    assert rejection.reason == reason
    assert words in str(rejection)


@pytest.mark.parametrize(
    ("content_type", "reason", "words"),
    [
        (
            "application/cloudevents-batch+json; charset=utf-8",
            "invalid_event",
            "a batch of CloudEvents: send each",
        ),
        ("application/cloudevents+protobuf", "undecodable", "a CloudEvent in protobuf"),
        (
            "application/cloudevents+AVRO;v=1",
            "undecodable",
            "in avro: have the producer write application/",
        ),
    ],
)
def test_a_structured_cloudevent_in_another_format_is_named(content_type: str, reason: str, words: str) -> None:
    """The content type says it, so nobody has to guess it from the bytes."""
    rejection = rejection_of(b"\n\x01e", content_type=content_type)
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
    rejection = rejection_of(value, key=key, content_type="text/plain")
    assert rejection.reason == reason
    assert words in str(rejection)


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
    rejection = rejection_of(text.encode(charset), content_type=f"text/plain; charset={charset}")
    assert rejection.reason == "undecodable"
    assert words in str(rejection)


@pytest.mark.parametrize("charset", ["iso-8859-1", "ascii", "us-ascii", "windows-1252", "no-such", "zip", '"utf-8"'])
def test_a_charset_that_is_named_wrongly_is_not_believed(charset: str) -> None:
    """Valid UTF-8 beyond ASCII is hardly ever anything else."""
    text = "Ti\u1ebfng Vi\u1ec7t"
    assert decoded(text.encode(), content_type=f"text/plain; charset={charset}").text == text


CONFLUENT, APICURIO, GLUE = b"\x00\x00\x00\x00\x07", b"\x00" + b"\x00" * 7 + b"\x07", b"\x03\x00" + b"i" * 16


@pytest.mark.parametrize("frame", [CONFLUENT, APICURIO, GLUE])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_json_behind_a_schema_registrys_frame_is_read(frame: bytes, mark: bytes) -> None:
    """JSON Schema serializers write the schema's id and then plain JSON."""
    assert decoded(frame + mark + PLAIN) == EXPECTED


@given(st.integers(0, 2**32 - 1) | st.sampled_from([256, 65_536, 2**24, 0x41004200]))
def test_json_behind_a_frame_is_read_whatever_its_schemas_id(schema: int) -> None:
    """Some ids look as if UTF-16 or UTF-32 began."""
    assert decoded(b"\x00" + schema.to_bytes(4, "big") + b'{"document_id":"d","text":"T"}').text == "T"


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
    rejection = rejection_of(value)
    assert rejection.reason == "undecodable"
    assert f"the value has a schema registry's frame, {schema}, not JSON" in str(rejection)


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
    assert len(str(rejection_of(fields))) < 1000


@pytest.mark.parametrize("value", [b"\x0a\x01d", b"\x02\xff\xfe", b""])
def test_a_schema_in_a_header_is_named(value: bytes) -> None:
    """Newer serializers write the schema's id beside the value, which then has no frame."""
    headers = [("__value_schema_id", b"\x00\x00\x00\x00\x07")]
    assert "as its header __value_schema_id says, and is not JSON" in str(rejection_of(value, headers=headers))
    assert decoded(PLAIN, headers=headers) == EXPECTED
