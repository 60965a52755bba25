"""Where a trial's records come from: files, a text, or the end of a topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from docsluice.documents.entries import ReadOptions
from docsluice.documents.kinds import Format
from docsluice.documents.reading import read
from docsluice.documents.rows import BadRow, Document
from docsluice.documents.sources import Source, select
from docsluice.documents.unpacking import unpacked
from docsluice.errors import WrongUsage
from docsluice.kafka.broker import Broker
from docsluice.messages import DocumentEvent
from docsluice.validation.event_problems import written
from docsluice.validation.json_values import compact_json, json_value
from docsluice_consumer.kafka.last_records import last_records
from docsluice_consumer.kafka.records import Record
from docsluice_consumer.tasks.pipeline_file import PipelineFile

_SECONDS = 10.0
_JSON = frozenset({Format.JSONL, Format.JSON})


def record_of_text(text: str) -> Record:
    """A record with this text.

    Raises:
        WrongUsage: it is blank.
    """
    if not text.strip():
        raise WrongUsage("--text: it is blank")
    event = DocumentEvent(document_id="text", text=text)
    return _record("--text", 0, event.document_id.encode(), written(event))


def records_of_files(
    paths: Sequence[str], file: PipelineFile, *, count: int, tell: Callable[[str], object]
) -> list[Record]:
    """The first records that `send` would make of these files.

    With an input mapping, each object of a JSON file is a record as it is. `tell` is told what cannot be read.

    Raises:
        WrongUsage: there is no such file, or no document in any.
    """
    found = list(islice(all_records(paths, file, tell=tell), count))
    if not found:
        raise WrongUsage("there are no documents in it")
    return found


def all_records(paths: Sequence[str], file: PipelineFile, *, tell: Callable[[str], object]) -> Iterator[Record]:
    """Yield all records that `send` would make of these files. See `records_of_files`."""
    number = 0
    for source in select(paths, other_format=None).sources:
        rows = _objects(source) if file.input.is_mapping and source.format in _JSON else _documents(source, tell)
        for key, value in rows:
            yield _record(source.name, number, key, value)
            number += 1


async def records_of_topic(broker: Broker, topic: str, *, count: int) -> list[Record]:
    """The newest records of a topic.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        BrokerFault: they could not be read.
        WrongUsage: there are none.
    """
    found = await last_records(broker, topic, count=count, seconds=_SECONDS)
    if not found:
        raise WrongUsage(f"--topic: {topic} is empty or missing")
    return found


def _documents(source: Source, tell: Callable[[str], object]) -> Iterator[tuple[bytes, bytes]]:
    for row in read(source, ReadOptions()):
        if isinstance(row, BadRow):
            tell(f"{row.place}: {row.problem}")
        elif isinstance(row, Document):
            yield row.key, row.value


def _objects(source: Source) -> Iterator[tuple[bytes, bytes]]:
    assert source.path is not None  # noqa: S101 - a named file has one
    with source.path.open("rb") as file:
        content, _ = unpacked(file)
        if source.format is Format.JSONL:
            found = (line.strip() for line in content if line.strip())
        else:
            try:
                whole = json_value(content.read())
            except ValueError as problem:
                raise WrongUsage(f"{source.name}: {problem}") from None
            found = (compact_json(one).encode() for one in (whole if isinstance(whole, list) else [whole]))
        for number, value in enumerate(found, 1):
            yield f"{source.name}:{number}".encode(), value


def _record(topic: str, offset: int, key: bytes, value: bytes) -> Record:
    now_ms = int(time.time() * 1000)
    return Record(topic=topic, partition=0, offset=offset, key=key, value=value, headers=[], timestamp_ms=now_ms)
