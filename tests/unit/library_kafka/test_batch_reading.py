"""What a consumer hands out of fetched bytes, whatever somebody has written there."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import random
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.codec import snappy_encode
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from docsluice.kafka import batch_reading
from docsluice.kafka.batch_reading import DamagedBatch, StillUnfolding, flaw_of, read_past_flaws, taken
from docsluice.kafka.decompression import Unfolding, Unreadable
from docsluice.kafka.flaw import ALL_PARTS
from tests.fakes.batches import CODECS, RawRecord, batch, compressed, part, varint, zeros_of

P0 = TopicPartition("documents", 0)
ALL_CODECS = pytest.mark.parametrize("codec", CODECS)
SOUND = RawRecord(value=b'{"n": 1}', key=b"k", headers=[(b"h", b"1"), (b"null", None)])


def fetched(data: bytes, *, position: int = 0, kept_bytes: int = 1_000_000) -> Any:
    """What aiokafka's own fetcher makes of the bytes of a fetch."""
    read_past_flaws(kept_bytes=kept_bytes)
    return fetcher.PartitionRecords(
        tp=P0,
        records=fetcher.MemoryRecords(data),
        aborted_transactions=[],
        fetch_offset=position,
        key_deserializer=None,
        value_deserializer=None,
        check_crcs=True,
        isolation_level=fetcher.READ_COMMITTED,
    )


def handed_out(data: bytes, *, position: int = 0, kept_bytes: int = 1_000_000) -> list[Any]:
    """The records of a fetch, from its beginning to its end, however often that is interrupted."""
    return contextvars.copy_context().run(_all_of, fetched(data, position=position, kept_bytes=kept_bytes))


def _all_of(records: Any) -> list[Any]:
    batch_reading._gives_turns.set(True)
    found, interruptions = [], 0
    while True:
        try:
            found.append(next(records))
        except StillUnfolding:
            interruptions += 1
        except StopIteration:
            handed_out.next_offset = records.next_fetch_offset  # type: ignore[attr-defined]
            handed_out.interruptions = interruptions  # type: ignore[attr-defined]
            return found


@ALL_CODECS
def test_sound_records_come_as_they_are(codec: str) -> None:
    """Keys, values, headers, nulls, times and offsets, whatever they are compressed with."""
    builder = DefaultRecordBatchBuilder(
        2, CODECS[codec], is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=10**6
    )
    rows = [(b"k", b"v" * 1000, [("h", b"1")]), (None, None, []), (b"", b"", [("h", None), ("h", b"")])]
    for offset, (key, value, headers) in enumerate(rows):
        builder.append(offset, 1_000 + offset, key, value, headers)
    found = handed_out(bytes(builder.build()))
    assert [(one.offset, one.timestamp) for one in found] == [(0, 1000), (1, 1001), (2, 1002)]
    assert [(one.key, one.value, list(one.headers)) for one in found] == rows
    assert [flaw_of(one) for one in found] == [None] * 3


def test_the_framed_snappy_of_java_clients_is_read() -> None:
    """Block by block."""
    plain = batch([SOUND])[61:]
    data = batch(snappy_encode(plain, xerial_blocksize=8), codec="snappy")
    assert handed_out(data)[0].value == SOUND.value


@ALL_CODECS
def test_a_header_name_that_is_not_utf8_costs_its_record_only(codec: str) -> None:
    """Its neighbours in the batch are sound. It has all its bytes, and its flaw."""
    odd = RawRecord(value=b"odd", key=b"o", headers=[(b"good", b"1"), (b"\xff\xfe", b"2")])
    found = handed_out(batch([SOUND, odd, SOUND], codec=codec))
    assert [one.value for one in found] == [SOUND.value, b"odd", SOUND.value]
    flaw = flaw_of(found[1])
    assert flaw is not None
    assert "the name of header 2 is not UTF-8" in flaw.problem
    assert not flaw.left_out
    assert not flaw.is_too_large
    assert found[1].headers == (("good", b"1"), ("\ufffd\ufffd", b"2"))
    assert [flaw_of(found[0]), flaw_of(found[2])] == [None, None]


@ALL_CODECS
def test_a_record_that_is_too_large_is_read_past_without_its_value(codec: str) -> None:
    """Its size and SHA-256 are known, and its key. The rest of its batch is sound."""
    huge = RawRecord(value=bytes(100_000), key=b"bomb", headers=[(b"h", b"1")])
    found = handed_out(batch([SOUND, huge, SOUND], codec=codec), kept_bytes=10_000)
    assert [one.value for one in found] == [SOUND.value, b"", SOUND.value]
    flaw = flaw_of(found[1])
    assert flaw is not None
    assert flaw.is_too_large
    assert flaw.left_out == {"headers", "value"}
    assert flaw.value_bytes == 100_000
    assert flaw.value_sha256 == hashlib.sha256(bytes(100_000)).hexdigest()
    assert found[1].key == b"bomb"


def test_a_key_that_is_too_large_is_left_out_too() -> None:
    """So is one as large as the record."""
    found = handed_out(batch([RawRecord(key=bytes(100_000), value=b"v"), SOUND]), kept_bytes=10_000)
    flaw = flaw_of(found[0])
    assert flaw is not None
    assert (flaw.left_out, flaw.key_bytes, flaw.value_bytes) == (ALL_PARTS, 100_000, 1)
    assert found[1].value == SOUND.value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (batch(b"\x28\xb5\x2f\xfdno zstd", codec="zstd", count=7), "cannot be decompressed"),
        (batch(b"no gzip", codec="gzip", count=7), "cannot be decompressed"),
        (batch(b"this is no lz4 frame", codec="lz4", count=7), "cannot be decompressed"),
        (batch(b"\xff\xff\xff\xff\x0fno snappy", codec="snappy", count=7), "at once"),
        (batch(b"\x05no snappy", codec="snappy", count=7), "cannot be decompressed"),
        (batch(b"whatever", codec_number=6, count=7), "codec 6, which this release does not know"),
        (batch(b"", count=7), "it ends within a record"),
        (batch(b"\xff" * 20, count=7), "a length in it is none"),
        (batch(b"\x01", count=7), "has no length"),
    ],
    ids=["zstd", "gzip", "lz4", "snappy at once", "snappy", "codec", "short", "length", "no length"],
)
def test_a_batch_that_cannot_be_read_is_passed_over_as_a_whole(data: bytes, why: str) -> None:
    """One record with its last offset stands for all, says why, and the next batch is read."""
    after = batch([SOUND], base_offset=7)
    found = handed_out(data + after)
    assert [one.offset for one in found] == [6, 7]
    flaw = flaw_of(found[0])
    assert flaw is not None
    assert why in flaw.problem
    assert "all offsets from 0 to 6 are passed over" in flaw.problem
    assert (flaw.first_offset, flaw.left_out) == (0, ALL_PARTS)
    assert found[1].value == SOUND.value


def test_what_comes_before_the_break_is_handed_out() -> None:
    """A batch that ends too soon gives what it has, and one record for the rest."""
    data = batch(batch([SOUND, SOUND])[61:] + b"\x10", count=5)
    found = handed_out(data)
    assert [one.offset for one in found] == [0, 1, 4]
    flaw = flaw_of(found[2])
    assert flaw is not None
    assert flaw.first_offset == 2


@pytest.mark.parametrize("damage", [b"\x08\0\0\0\x63", b"\x02\0", b"\x10\0\0\0\x01\x05", b"\x0a\0\0\0\x01\x01"])
def test_a_damaged_record_costs_itself(damage: bytes) -> None:
    """Its length tells where the next one begins."""
    first, last = batch([SOUND])[61:], batch([RawRecord(value=b"last", offset_delta=2)])[61:]
    length = damage[0] >> 1
    found = handed_out(batch(first + damage[:1] + damage[1:].ljust(length, b"\x7f") + last, count=3))
    assert [one.offset for one in found] == [0, 1, 2]
    assert [flaw_of(one) is None for one in found] == [True, False, True]
    assert found[2].value == b"last"


def test_no_number_in_a_record_is_longer_than_kafka_writes_any() -> None:
    """To read on to its end would take hours for a record of 32 MiB, and nobody would read anything meanwhile."""
    endless = b"\0" + b"\xff" * 10 + b"\x01" + varint(0) + part(None) + part(b"v") + varint(0)
    found = handed_out(batch(varint(len(endless)) + endless + batch([SOUND])[61:], count=2))
    flaw = flaw_of(found[0])
    assert flaw is not None
    assert (flaw.problem, flaw.left_out) == ("the record is damaged", ALL_PARTS)
    assert found[1].value == SOUND.value


def test_a_damaged_batch_is_read_twice_before_it_is_given_up() -> None:
    """It may have been damaged on its way. When it comes again as it was, one record stands for all of it."""
    data = batch([SOUND] * 5, base_offset=100, is_damaged=True) + batch([SOUND], base_offset=105)
    with pytest.raises(DamagedBatch, match="offset 100"):
        handed_out(data, position=102)
    found = handed_out(data, position=102)
    assert [one.offset for one in found] == [104, 105]
    assert "its checksum is wrong" in flaw_of(found[0]).problem  # type: ignore[union-attr]


def test_where_a_damaged_batch_ends_is_told_by_the_next_one() -> None:
    """Its own word is damaged, too. Until something follows it is not skipped."""
    data = batch([SOUND] * 5, base_offset=200, last_offset_delta=70_000, is_damaged=True)
    for _ in range(3):
        with pytest.raises(DamagedBatch):
            handed_out(data, position=200)
    found = handed_out(data + batch([SOUND], base_offset=205), position=200)
    assert [one.offset for one in found] == [204, 205]


def test_a_position_within_a_batch_is_kept() -> None:
    """What was read before is not handed out again, with a flaw in the batch or without."""
    odd = RawRecord(headers=[(b"\xff", b"")])
    data = batch([SOUND, odd, SOUND, SOUND], base_offset=10)
    assert [one.offset for one in handed_out(data, position=12)] == [12, 13]
    assert [one.offset for one in handed_out(data, position=11)] == [11, 12, 13]
    assert handed_out.next_offset == 14  # type: ignore[attr-defined]


def test_messages_of_old_formats_are_read_too() -> None:
    """And a damaged one is skipped."""
    builder = LegacyRecordBatchBuilder(1, 0, batch_size=10**6)
    builder.append(0, 1, b"k", b"v")
    sound = bytes(builder.build())
    assert [(one.offset, one.value, flaw_of(one)) for one in handed_out(sound)] == [(0, b"v", None)]
    found = handed_out(sound[:-1] + b"x")
    assert [one.offset for one in found] == [0]
    assert flaw_of(found[0]) is not None


def test_a_batch_without_records_is_passed_over() -> None:
    """As compaction leaves them."""
    found = handed_out(batch(b"", count=0, last_offset_delta=4) + batch([SOUND], base_offset=5))
    assert [one.offset for one in found] == [5]


@pytest.mark.parametrize("codec", ["zstd", "gzip", "lz4"])
def test_a_bomb_unfolds_piece_by_piece(codec: str) -> None:
    """Its zeros are counted, and are never there together."""
    data = batch(zeros_of(50 * 2**20, codec), codec=codec)
    flaw = flaw_of(handed_out(data)[0])
    assert flaw is not None
    assert flaw.value_bytes == 50 * 2**20


def test_others_have_their_turn_while_a_bomb_unfolds() -> None:
    """Every eight megabytes, and every sixteen thousand records. All that is around is handed out once."""
    bomb = batch(zeros_of(50 * 2**20, "zstd"), codec="zstd")
    found = handed_out(bomb + batch([SOUND], base_offset=1))
    assert [one.offset for one in found] == [0, 1]
    assert handed_out.interruptions == 7  # type: ignore[attr-defined]
    many = batch([RawRecord(value=b"")] * 50_000, codec="zstd")
    assert [one.offset for one in handed_out(many, position=49_990)] == list(range(49_990, 50_000))
    assert handed_out.interruptions == 3  # type: ignore[attr-defined]


def test_a_batch_is_not_unfolded_for_ever() -> None:
    """Behind a bound nothing is read."""
    unfolding = Unfolding(4, memoryview(zeros_of(10 * 2**20, "zstd")), most_bytes=2**20)
    with pytest.raises(Unreadable, match="more than 1,048,576 bytes"):
        list(unfolding.skip(5 * 2**20))


NAMES = st.binary(max_size=6)
RAW = st.builds(
    RawRecord,
    value=st.none() | st.binary(max_size=300),
    key=st.none() | st.binary(max_size=80),
    headers=st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20)), max_size=4),
    timestamp_delta=st.integers(-(2**40), 2**40),
)


@given(
    records=st.lists(RAW, min_size=1, max_size=8),
    codec=st.sampled_from(sorted(CODECS)),
    kept_bytes=st.integers(1, 400),
    position=st.integers(0, 8),
)
def test_every_offset_is_handed_out_once(records: list[RawRecord], codec: str, kept_bytes: int, position: int) -> None:
    """Whatever is in them: sound ones whole, others with a flaw, none twice and none missing."""
    found = handed_out(batch(records, codec=codec), kept_bytes=kept_bytes, position=position)
    assert [one.offset for one in found] == list(range(position, len(records)))
    for one in found:
        meant = records[one.offset]
        if (flaw := flaw_of(one)) is None:
            assert (one.key, one.value) == (meant.key, meant.value)
            assert [(name.encode(), value) for name, value in one.headers] == list(meant.headers)
        elif "value" in flaw.left_out:
            assert flaw.value_bytes == len(meant.value or b"")


@given(seed=st.integers(0, 2**32), codec=st.sampled_from(sorted(CODECS)), cut=st.booleans())
def test_no_bytes_stop_the_reading(seed: int, codec: str, *, cut: bool) -> None:
    """A sound head and anything behind it: what comes out ends at the batch's end, and nothing is raised."""
    chance = random.Random(seed)
    body = bytearray(compressed(batch([SOUND] * 3)[61:], codec))
    for _ in range(chance.randrange(1, 4)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    if cut:
        del body[chance.randrange(len(body)) :]
    data = batch(bytes(body), codec=codec, count=3) + batch([SOUND], base_offset=3)
    found = handed_out(data)
    offsets = [one.offset for one in found]
    assert offsets == sorted(set(offsets))
    assert offsets[-2:] == [2, 3]


class Consumer:
    """Hands out what it has, one record at a time, and then fails or has nothing."""

    def __init__(self, *records: Any, then: Exception | None = None) -> None:
        self.left = list(records)
        self._then = then

    async def getmany(self, *_: TopicPartition, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        assert max_records == 1
        if self.left:
            return {P0: [self.left.pop(0)]}
        if self._then is not None:
            raise self._then
        return {}


async def test_no_more_is_taken_than_there_is_room_for() -> None:
    """So many records, or so many bytes, and what is left comes with the next call."""
    ten = handed_out(batch([RawRecord(value=bytes(100))] * 10))
    consumer = Consumer(*ten)
    assert len((await taken(consumer, timeout_ms=1, most_records=4, most_bytes=10**6))[P0]) == 4
    assert len((await taken(consumer, timeout_ms=1, most_records=100, most_bytes=250))[P0]) == 3
    assert len((await taken(consumer, timeout_ms=1, most_records=100, most_bytes=10**6))[P0]) == 3
    assert await taken(consumer, timeout_ms=1, most_records=100, most_bytes=10**6) == {}


class Unfolding50MiB(Consumer):
    """Its only record is one that unfolds to 50 MiB."""

    def __init__(self) -> None:
        super().__init__()
        self._records = fetched(batch(zeros_of(50 * 2**20, "zstd"), codec="zstd"))

    async def getmany(self, *_: TopicPartition, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        return {P0: [one]} if (one := next(self._records, None)) else {}


async def test_a_bomb_does_not_hold_the_event_loop() -> None:
    """Other tasks run between its parts, and it is not told as an error."""
    turns = []

    async def others() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    (record,) = (await taken(Unfolding50MiB(), timeout_ms=60_000, most_records=1, most_bytes=1))[P0]
    other.cancel()
    assert flaw_of(record).value_bytes == 50 * 2**20  # type: ignore[union-attr]
    assert len(turns) >= 6


async def test_a_bomb_that_takes_long_goes_on_with_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the reader can be stopped between."""
    monkeypatch.setattr(batch_reading, "_MOST_TURNS", 3)
    consumer, calls = Unfolding50MiB(), 1
    while not (found := await taken(consumer, timeout_ms=0, most_records=1, most_bytes=1)):
        calls += 1
    assert flaw_of(found[P0][0]) is not None
    assert calls == 3


def test_a_reader_that_knows_nothing_of_turns_is_not_interrupted() -> None:
    """As aiokafka's own, for which an interruption would be an error."""
    records = contextvars.Context().run(lambda: list(fetched(batch(zeros_of(50 * 2**20, "zstd"), codec="zstd"))))
    assert len(records) == 1


async def test_an_error_costs_nothing_that_was_read_before_it() -> None:
    """It is told by the next call, which has nothing else."""
    consumer = Consumer(*handed_out(batch([SOUND] * 2)), then=DamagedBatch("damaged"))
    assert len((await taken(consumer, timeout_ms=1, most_records=9, most_bytes=10**6))[P0]) == 2
    with pytest.raises(DamagedBatch):
        await taken(consumer, timeout_ms=1, most_records=9, most_bytes=10**6)
