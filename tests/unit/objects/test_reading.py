"""Texts that events refer to: in turn, waited for, and each fault where it belongs."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import structlog

from docsluice.messages import DeadLetterReason, DocumentEvent
from docsluice_consumer.decode.decode import ReadEvent
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.objects.locations import Location, prefix_of
from docsluice_consumer.objects.reading import NO_OBJECTS, ObjectReader
from docsluice_consumer.objects.stores import Content, NoObject, ObjectTooLarge, StoreAway
from tests.fakes.timer import settled

MOST = 100


class Store:
    """Gives these answers, one a reading, the last of them for ever."""

    def __init__(self, *answers: Content | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Location] = []
        self.bounds: list[int] = []

    async def read(self, location: Location, *, most_bytes: int) -> Content:
        self.asked.append(location)
        self.bounds.append(most_bytes)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


def _reader(store: Store, *, held: int = MOST, paused: list[float] | None = None) -> ObjectReader:
    async def sleep(seconds: float) -> None:
        (paused if paused is not None else []).append(seconds)
        await asyncio.sleep(0)

    return ObjectReader(
        stores={"s3": store}, prefixes=[prefix_of("s3://bucket/")], most_bytes=MOST, held_bytes=held, sleep=sleep
    )


def _read(uri: str = "s3://bucket/a") -> ReadEvent:
    return ReadEvent(DocumentEvent(document_id="d", text=uri, metadata={"a": 1}), is_reference=True)


async def test_the_text_takes_the_place_of_its_address() -> None:
    """All else of the event stays. No more than is allowed is asked for."""
    store = Store(Content(b"\xef\xbb\xbfThe text."))
    async with _reader(store).whole(_read()) as whole:
        assert whole.event == DocumentEvent(document_id="d", text="The text.", metadata={"a": 1})
        assert not whole.is_reference
    assert store.bounds == [MOST]


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (NoObject("is not there"), DeadLetterReason.UNDECODABLE, "s3://bucket/a is not there"),
        (ObjectTooLarge(), DeadLetterReason.TOO_LARGE, "more than the 100 bytes of DOCSLUICE_MAX_DOCUMENT_BYTES"),
        (Content(b"caf\xe9 au lait"), DeadLetterReason.UNDECODABLE, "not valid UTF-8"),
        (Content(b"\x1f\x8b\x08" + bytes(9)), DeadLetterReason.UNDECODABLE, "gzip"),
        (Content(b" \n"), DeadLetterReason.INVALID_EVENT, "is blank"),
    ],
)
async def test_the_objects_fault_is_the_documents(
    answer: Content | Exception, reason: DeadLetterReason, words: str
) -> None:
    """It is told once, and others are read."""
    reader = _reader(Store(answer, answer, Content(b"ok")))
    for _ in range(2):
        with pytest.raises(RecordRejected) as caught:
            await _text(reader)
        assert caught.value.reason is reason
        assert words in str(caught.value)
        assert "bucket/a" not in (caught.value.cause or "")
    assert await _text(reader) == "ok"


async def test_a_store_that_is_away_is_waited_for() -> None:
    """Longer each time, up to half a minute. No document is given up, and a person is told."""
    paused: list[float] = []
    reader = _reader(Store(*[StoreAway("no answer")] * 9, Content(b"ok")), paused=paused)
    assert await _text(reader) == "ok"
    assert paused == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert reader.why_not_ready() is None
    away = _reader(Store(StoreAway("no answer")))
    waiting = asyncio.create_task(_text(away))
    await settled()
    assert "no answer" in (away.why_not_ready() or "")
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting


async def test_what_is_not_given_while_others_are_is_the_documents_fault() -> None:
    """One key that a store does not like must not hold its place for ever. A store that gives nothing is waited for."""
    store, paused = Store(StoreAway("refused")), list[float]()
    reader = _reader(store, held=10 * MOST, paused=paused)
    waiting = asyncio.create_task(_text(reader))
    while len(store.asked) < 20:
        await asyncio.sleep(0)
    store.answers = [Content(b"ok")]
    assert await _text(reader, "s3://bucket/b") == "ok"
    store.answers = [StoreAway("refused")]
    with pytest.raises(RecordRejected, match="is not given, and others are: refused") as caught:
        await waiting
    assert caught.value.reason is DeadLetterReason.UNDECODABLE
    assert reader.why_not_ready() is None


async def test_one_object_that_is_refused_makes_no_store_away() -> None:
    """While others are given, nobody is woken for it."""
    refused, reader = 0, _reader(store := Store(Content(b"ok")), held=10 * MOST)

    async def read(location: Location, *, most_bytes: int) -> Content:
        nonlocal refused
        store.bounds.append(most_bytes)
        if location.path != "refused":
            return Content(b"ok")
        refused += 1
        raise StoreAway("refused")

    store.read = read  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logged:
        waiting = asyncio.create_task(_text(reader, "s3://bucket/refused"))
        while not waiting.done():
            assert await _text(reader) == "ok"
            await asyncio.sleep(0)
        with pytest.raises(RecordRejected):
            await waiting
    assert (refused, logged) == (6, [])


async def test_what_waits_for_one_store_keeps_no_room() -> None:
    """Documents of another store go on meanwhile, and each store is told of by itself."""
    away, well = Store(StoreAway("no answer")), Store(Content(b"ok"))

    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    reader = ObjectReader(
        stores={"s3": away, "gs": well},
        prefixes=[prefix_of("s3://bucket/"), prefix_of("gs://bucket/")],
        most_bytes=MOST,
        held_bytes=MOST,
        sleep=sleep,
    )
    with structlog.testing.capture_logs() as logged:
        waiting = [asyncio.create_task(_text(reader)) for _ in range(5)]
        await asyncio.sleep(0)
        while reader.why_not_ready() is None:
            assert await _text(reader, "gs://bucket/a") == "ok"
            await asyncio.sleep(0)
        assert "no answer" in (reader.why_not_ready() or "")
        assert await _text(reader, "gs://bucket/a") == "ok"
        away.answers = [Content(b"late")]
        assert await asyncio.gather(*waiting) == ["late"] * 5
    assert [one["event"] for one in logged] == ["objects.away", "objects.back"]
    assert reader.why_not_ready() is None


async def test_no_more_is_held_than_there_is_room_for() -> None:
    """In the order in which they came. What ends gives its room back, and so does what is cancelled or fails."""
    store = Store(Content(b"x" * MOST))
    reader, inside, leave = _reader(store, held=2 * MOST), list[int](), asyncio.Event()

    async def hold(number: int) -> None:
        async with reader.whole(_read()):
            inside.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(hold(number)) for number in range(5)]
    await settled()
    assert (inside, len(store.asked)) == ([0, 1], 2)
    tasks[0].cancel()
    tasks[2].cancel()
    await settled()
    assert inside == [0, 1, 3]
    leave.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert inside == [0, 1, 3, 4]
    assert await _text(reader) == "x" * MOST


async def test_room_that_is_not_needed_is_given_back_at_once() -> None:
    """Most texts are smaller than the largest that is allowed."""
    store = Store(Content(b"x" * 10))
    reader, inside, leave = _reader(store, held=2 * MOST), list[int](), asyncio.Event()

    async def hold(number: int) -> None:
        async with reader.whole(_read()):
            inside.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(hold(number)) for number in range(20)]
    await settled()
    assert len(inside) == 11  # ten hold 100 of the 200 bytes, and the last leaves too little to read another
    leave.set()
    await asyncio.gather(*tasks)
    assert sorted(inside) == list(range(20))


async def test_the_charset_of_the_pipeline_file_is_believed() -> None:
    """As that of a record is."""
    reader = ObjectReader(
        stores={"s3": Store(Content("né à Zoé".encode("windows-1252")))},
        prefixes=[prefix_of("s3://bucket/")],
        most_bytes=MOST,
        held_bytes=MOST,
        charset="windows-1252",
    )
    assert await _text(reader) == "né à Zoé"


@pytest.mark.parametrize(
    ("reader", "uri", "words"),
    [
        (NO_OBJECTS, "s3://bucket/a", "DOCSLUICE_OBJECT_PREFIXES"),
        (_reader(Store(Content(b"ok"))), "s3://other/a", "s3://other is below no prefix"),
        (_reader(Store(Content(b"ok"))), "no address", "uri: has a blank"),
    ],
)
async def test_what_is_not_allowed_is_not_read(reader: ObjectReader, uri: str, words: str) -> None:
    """The record's dead letter says which setting allows it."""
    with pytest.raises(RecordRejected, match=words) as caught:
        await _text(reader, uri)
    assert caught.value.reason is DeadLetterReason.INVALID_EVENT


async def _text(reader: ObjectReader, uri: str = "s3://bucket/a") -> str:
    async with reader.whole(_read(uri)) as whole:
        return whole.event.text
