"""Accounts for every document: how it ended, how often, and how many calls were paid for it. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from docsluice.messages import ERROR_HEADER_PREFIX, Headers
from docsluice_local.rehearsal.chat import text_hash


class Place(NamedTuple):
    """Where a document stands on the input topic. No two documents have the same."""

    topic: str
    partition: int
    offset: int


class Fetched(Protocol):
    """What is read of an aiokafka record."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    headers: Headers


class Ending(NamedTuple):
    """One outcome, and the place of the document that it speaks of."""

    place: Place
    is_dead_letter: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One record of the input topic. `text` is that of its event."""

    place: Place
    text: str


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of the documents.

    Attributes:
        results: records on the result topic, repeats included. Likewise `dead_letters`.
        lost: documents without any outcome.
        repeated: outcomes beyond the first of their document.
        strangers: outcomes of documents that are not on the input topic.
        uncommitted: documents at or above the committed offset, though they have ended.
        calls: what the provider was asked, faults included.
        cut_off: calls that a client broke off. Of one that is killed, those that are in flight then.
        paid_again: calls that were answered, or broken off by the client, beyond one for each document and step.
    """

    documents: int
    results: int
    dead_letters: int
    lost: tuple[Place, ...]
    repeated: int
    strangers: int
    uncommitted: int
    calls: int
    cut_off: int
    paid_again: int


def ending_of(record: Fetched) -> Ending:
    """Read a result or a dead letter for its document's place.

    Raises:
        ValueError: it is neither.
    """
    errors = {
        name.removeprefix(ERROR_HEADER_PREFIX): value or b""
        for name, value in record.headers
        if name.startswith(ERROR_HEADER_PREFIX)
    }
    try:
        if errors:
            place = Place(errors["topic"].decode(), int(errors["partition"]), int(errors["offset"]))
            return Ending(place, is_dead_letter=True)
        source = json.loads(record.value or b"")["source"]
        return Ending(Place(source["topic"], source["partition"], source["offset"]), is_dead_letter=False)
    except (KeyError, TypeError, ValueError) as error:
        where = f"{record.topic}/{record.partition}@{record.offset}"
        raise ValueError(f"{where} is neither a result nor a dead letter: {error!r}") from error


def document_of(record: Fetched) -> Document | None:
    """A document of the input topic. None for a tombstone, which has no outcome."""
    if record.value is None:
        return None
    text = str(json.loads(record.value)["text"])
    return Document(place=Place(record.topic, record.partition, record.offset), text=text)


def account(
    *,
    documents: Sequence[Document],
    endings: Iterable[Ending],
    calls: Sequence[Mapping[str, Any]],
    committed: Mapping[int, int],
    steps: int = 1,
) -> Account:
    """Draw up the account.

    `calls` are the provider's log, `committed` the group's offset of each partition, `steps` the calls that one
    document needs.
    """
    ended = list(endings)
    times = Counter(ending.place for ending in ended)
    places = {document.place for document in documents}
    dead_letters = sum(ending.is_dead_letter for ending in ended)
    return Account(
        documents=len(documents),
        results=len(ended) - dead_letters,
        dead_letters=dead_letters,
        lost=tuple(sorted(places - times.keys())),
        repeated=sum(count - 1 for count in times.values()),
        strangers=len(times.keys() - places),
        uncommitted=sum(place.offset >= committed.get(place.partition, 0) for place in places & times.keys()),
        calls=len(calls),
        cut_off=sum(_is_cut_off(call) for call in calls),
        paid_again=_paid_again(documents, calls, steps),
    )


def _paid_again(documents: Sequence[Document], calls: Sequence[Mapping[str, Any]], steps: int) -> int:
    """A call that asks for a repair bears another text than any document's and so counts as paid again, which it is."""
    needed = Counter(text_hash(document.text) for document in documents)
    paid = Counter(call["document"] for call in calls if _is_paid(call))
    return sum(max(0, count - steps * needed[text]) for text, count in paid.items())


def _is_paid(call: Mapping[str, Any]) -> bool:
    """Answered, or given up by the client while a good answer was on its way, for which a provider charges too."""
    return call["status"] == 200 or _is_cut_off(call)


def _is_cut_off(call: Mapping[str, Any]) -> bool:
    return bool(call["status"] == 0 and call["fault"] in {None, "hold"})
