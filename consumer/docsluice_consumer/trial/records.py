"""Where a trial's records come from: files, a text, or the end of a topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

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
_Row: TypeAlias = tuple[bytes, bytes, Mapping[str, Any]]
"""A record's key and value, and the row that it is made of."""


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
    for record, _ in rows_of_files(paths, file, options=ReadOptions(), tell=tell):
        yield record


def rows_of_files(
    paths: Sequence[str], file: PipelineFile, *, options: ReadOptions, tell: Callable[[str], object]
) -> Iterator[tuple[Record, Mapping[str, Any]]]:
    """Yield the same records, each with the row that it is made of. It is empty unless the options keep rows."""
    number = 0
    for source in select(paths, other_format=None).sources:
        is_mapped = file.input.is_mapping and source.format in _JSON
        for key, value, row in _objects(source, options) if is_mapped else _documents(source, options, tell):
            yield _record(source.name, number, key, value), row
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


def _documents(source: Source, options: ReadOptions, tell: Callable[[str], object]) -> Iterator[_Row]:
    for row in read(source, options):
        if isinstance(row, BadRow):
            tell(f"{row.place}: {row.problem}")
        elif isinstance(row, Document):
            yield row.key, row.value, row.row


def _objects(source: Source, options: ReadOptions) -> Iterator[_Row]:
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
            yield f"{source.name}:{number}".encode(), value, _fields(value) if options.keeps_rows else {}


def _fields(value: bytes) -> Mapping[str, Any]:
    """The fields of a JSON object. Of anything else there are none: the service says what is wrong with it."""
    try:
        found = json_value(value)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _record(topic: str, offset: int, key: bytes, value: bytes) -> Record:
    now_ms = int(time.time() * 1000)
    return Record(topic=topic, partition=0, offset=offset, key=key, value=value, headers=[], timestamp_ms=now_ms)
