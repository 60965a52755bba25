"""All documents looked at, and a sample of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.kafka.records import Record
from docsluice_consumer.trial.planning import survey
from tests.fakes.samples import record
from tests.fakes.tickets import MAPPING, reader_of, ticket

RUNS, COUNT, SAMPLE = 400, 20, 5


def _documents() -> Iterator[Record]:
    for number in range(COUNT):
        yield record(json.dumps({"document_id": f"d{number}", "text": "é" * (number + 1)}).encode())


def test_every_document_has_the_same_chance() -> None:
    """Also the last one: a folder may be sorted by size."""
    drawn = Counter(
        size
        for seed in range(RUNS)
        for _, size in survey(_documents(), RecordReader(), sample=SAMPLE, seed=seed).sample
    )
    assert len(drawn) == COUNT
    expected = RUNS * SAMPLE / COUNT
    assert all(abs(times - expected) < 5 * expected**0.5 for times in drawn.values())


def test_everything_is_counted() -> None:
    """Bytes of text in UTF-8, records that are passed over, and those that are no documents."""
    found = survey(_documents(), RecordReader(), sample=SAMPLE, seed=0)
    assert (found.documents, found.total_bytes) == (COUNT, sum(2 * (number + 1) for number in range(COUNT)))
    tickets = [ticket(), ticket(status="closed"), ticket(ticket_id=...), record(b"no JSON")]
    found = survey(tickets, reader_of(**MAPPING), sample=SAMPLE, seed=0)
    assert (found.documents, found.passed_over, found.unfit, found.records) == (1, 1, 2, 4)


def test_a_part_is_scaled_to_the_whole() -> None:
    """A topic's newest records stand for all of them."""
    part = survey([ticket(), ticket(status="closed")], reader_of(**MAPPING), sample=1, seed=0)
    whole = part.of_all(1000)
    assert (whole.documents, whole.passed_over, whole.total_bytes) == (500, 500, 500 * part.total_bytes)
    assert (whole.is_scaled, part.of_all(2).is_scaled) == (True, False)
