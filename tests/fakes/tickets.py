"""A topic of tickets, which nobody made for docsluice, and the input rules that read it."""

from __future__ import annotations

import json
from typing import Any

from docsluice.messages import Headers
from docsluice_consumer.bootstrap import input_rules_of
from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.kafka.records import Record
from tests.fakes.samples import pipeline_file, record

TICKET: dict[str, Any] = {
    "ticket_id": 17,
    "subject": "Printer on fire",
    "body": "It burns.",
    "status": "open",
    "customer": {"id": "c-1", "vip": True},
}
MAPPING: dict[str, Any] = {
    "document_id": "ticket_id",
    "text": "{{ subject }}\n\n{{ body }}",
    "metadata": {"customer": "customer.id", "tenant": "$headers.tenant"},
    "when": "status == 'open'",
}


def reader_of(**fields: Any) -> RecordReader:
    """What reads records with these fields of `input:`."""
    return RecordReader(rules=input_rules_of(pipeline_file(input=fields)))


def ticket(headers: Headers = (("tenant", b"acme"),), **more: Any) -> Record:
    """A ticket, with other fields where they are given. `...` leaves a field out."""
    fields = {name: value for name, value in (TICKET | more).items() if value is not ...}
    return record(json.dumps(fields).encode(), headers=headers)
