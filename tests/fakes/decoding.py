"""One event, and what becomes of its bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docsluice.messages import DocumentEvent, Headers, Stage
from docsluice_consumer.decode.decode import ReadEvent, RecordReader
from docsluice_consumer.errors import RecordRejected
from tests.fakes.samples import SECRET_TEXT, record

EVENT = {"document_id": "doc-1", "text": SECRET_TEXT, "metadata": {"lang": "en", "pages": 3, "score": 0.5, "ok": True}}
EXPECTED = DocumentEvent.model_validate(EVENT)
PLAIN = json.dumps(EVENT).encode()


def read_record(*, key: bytes | None, value: bytes, headers: Headers) -> ReadEvent:
    """A record of these parts, as it is read without a pipeline file."""
    read = RecordReader().read(record(value, key=key, headers=headers))
    assert read is not None
    return read


def decode(*, key: bytes | None, value: bytes, headers: Headers) -> DocumentEvent:
    return read_record(key=key, value=value, headers=headers).event


def decoded(
    value: bytes | dict[str, Any], *, headers: Headers = (), key: bytes | None = b"doc-1", content_type: str = ""
) -> DocumentEvent:
    added = [("content-type", content_type.encode())] if content_type else []
    return decode(
        key=key,
        value=value if isinstance(value, bytes) else json.dumps(value).encode(),
        headers=[*headers, *added],
    )


def rejection_of(value: bytes | dict[str, Any], **more: Any) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        decoded(value, **more)
    assert caught.value.stage is Stage.DECODE
    assert SECRET_TEXT[:12] not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def envelope_of(**fields: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "t", "subject": "doc-1", **fields}
