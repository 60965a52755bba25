"""Cases of what is stored: files, a disk, a Redis and a commit that are damaged, hostile or silent."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import stat
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from docsluice_consumer.kafka.offsets import Run, encode
from docsluice_consumer.store.ledger import Ledger
from tests.acceptance.hostile.case import Case, Stage
from tests.fakes.hung_disk import HUNG, IS_POSSIBLE, hung_disk
from tests.fakes.redis_wire import OK, Says, array, bulk
from tests.integration.wire import Wire

_MEBIBYTE = 2**20
_MEMBER = "hostile-1"
_LEDGER = "spending.sqlite3"
_OTHERS = 0o007
_SOON_SECONDS = 1.0
_HANGS_SECONDS = 15.0
"""More than the ten seconds for which a store is waited for."""
_BEYOND = 1_000_000


def budget(group: str) -> dict[str, str]:
    """A budget that is kept on disk, for a group of its own: a static member comes back with its old assignment."""
    return {
        "DOCSLUICE_BUDGET_USD_PER_DAY": "1000",
        "DOCSLUICE_MODEL": "gpt-4o-mini",
        "DOCSLUICE_GROUP_ID": group,
        "DOCSLUICE_GROUP_INSTANCE_ID": _MEMBER,
    }


def bad_ledger(name: str, began_at: object, usd: object) -> Case:
    """A ledger that has such a time and such an amount for each window."""
    group = f"group of a {name}"

    def prepare(state: Path) -> Mapping[str, str]:
        with contextlib.closing(sqlite3.connect(state / _LEDGER)) as database, database:
            database.execute(
                "create table spent (member text not null, window text not null, began_at not null, usd not null,"
                " primary key (member, window)) without rowid"
            )
            rows = [(f"{group}/{_MEMBER}", window, began_at, usd) for window in ("hour", "day")]
            database.executemany("insert into spent values (?, ?, ?, ?)", rows)
        return {}

    return Case(name=name, prepare=prepare, settings=budget(group))


def _no_database(state: Path) -> Mapping[str, str]:
    (state / _LEDGER).write_bytes(b"\0" * 5_000)
    return {}


def _readable_for_all(state: Path) -> Mapping[str, str]:
    """As an earlier release has made it."""
    ledger = Ledger(folder=state, member="another")
    ledger.write([("day", time.time(), Decimal(1))])
    ledger.close()
    for found in state.iterdir():
        found.chmod(0o666)
    return {}


async def _is_closed_to_others(stage: Stage) -> Sequence[str]:
    """Of all files that hold what was spent."""
    await stage.ended.wait()
    files = (stage.folder / "state").glob(f"{_LEDGER}*")
    return [f"{file.name} is open to others" for file in files if stat.S_IMODE(file.stat().st_mode) & _OTHERS]


async def _becomes_a_link(stage: Stage) -> Sequence[str]:
    """Somebody puts a link in the ledger's place, to a file that is worth something."""
    ledger, victim = stage.folder / "state" / _LEDGER, stage.folder / "victim"
    victim.write_bytes(b"")
    await asyncio.sleep(_SOON_SECONDS)
    link = ledger.with_name("link")
    link.symlink_to(victim)
    link.replace(ledger)
    await stage.ended.wait()
    return ["something is written through the link"] if victim.read_bytes() else []


async def _hangs_for_a_while(stage: Stage) -> Sequence[str]:
    """No file of the service answers, and then all do."""
    hung = Path(stage.settings[HUNG])
    await asyncio.sleep(_SOON_SECONDS)
    hung.touch()
    await asyncio.sleep(_HANGS_SECONDS)
    hung.unlink()
    return ()


async def _hangs_for_good(stage: Stage) -> Sequence[str]:
    """Also while it is told to stop."""
    await asyncio.sleep(_SOON_SECONDS)
    Path(stage.settings[HUNG]).touch()
    return ()


def _hung_disks() -> tuple[Case, ...]:
    """None of them where nothing can be compiled."""
    if not IS_POSSIBLE:
        return ()
    return (
        Case(
            name="a disk that hangs for 15 s",
            prepare=lambda state: hung_disk(state.parent),
            settings=budget("group of a hung disk"),
            beside=_hangs_for_a_while,
            outage_seconds=_HANGS_SECONDS + 2,  # it is tried again each second
            says=("store.away", "store.back", "ledger.failing"),
        ),
        Case(
            name="an optional store that never answers again",
            prepare=lambda state: hung_disk(state.parent),
            settings={"DOCSLUICE_STORE_OPTIONAL": "true", "DOCSLUICE_DRAIN_SECONDS": "5"},
            beside=_hangs_for_good,
            outage_seconds=12,  # that it does not answer is known after ten
            says=("store.away",),
        ),
    )


def _anything(command: Sequence[bytes]) -> bytes:
    """Steps without answers, numbers that are none, and lists of them."""
    kinds = (
        bulk(b'{"outputs": {}}'),
        bulk(b"NaN"),
        b":-9223372036854775808\r\n",
        b"*-1\r\n",
        b"-WRONGTYPE no\r\n",
        array(*[bulk(b'{"outputs": {"category": null}}')] * len(command)),
    )
    return random.choice(kinds)


def redis_with(*, entry: bytes | None = None, grants: Sequence[bytes] = (b"100", b"0")) -> Says:
    """One that is sound, but for what it has kept and grants."""

    def says(command: Sequence[bytes]) -> bytes:
        match command[0].upper():
            case b"GET":
                return bulk(entry)
            case b"SET":
                return OK
            case _:
                return array(*map(bulk, grants))

    return says


async def _map_beyond_the_end(wire: Wire) -> None:
    """A commit as another log's would be: nearly all of what is there, and of what is to come, has ended."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=wire.bootstrap_servers, group_id=f"{wire.name}.group", enable_auto_commit=False
    )
    await consumer.start()
    try:
        partition = TopicPartition(wire.topics["input"], 0)
        consumer.assign([partition])
        await consumer.commit({partition: (0, encode(0, [Run(1, _BEYOND)]))})
    finally:
        await consumer.stop()


STATE = (
    bad_ledger("ledger of NaN", time.time(), "NaN"),
    bad_ledger("ledger of infinity", time.time(), "Infinity"),
    bad_ledger("ledger with text for a time", "later", "1"),
    bad_ledger("ledger with an endless time", 1e999, "1"),
    Case(name="ledger is no database", prepare=_no_database, settings=budget("group of no database")),
    Case(
        name="ledger that all may read",
        prepare=_readable_for_all,
        settings=budget("group of an open ledger"),
        beside=_is_closed_to_others,
    ),
    Case(
        name="ledger becomes a link",
        settings=budget("group of a link"),
        beside=_becomes_a_link,
        says=("ledger.failing",),
    ),
    *_hung_disks(),
    Case(name="Redis says nothing", redis=lambda _: b"", says=("store.away", "limits.away")),
    Case(name="Redis says 3 GB", redis=lambda _: b"$3000000000\r\n" + bytes(64 * _MEBIBYTE)),
    Case(name="Redis says anything", redis=_anything),
    Case(name="steps without answers", redis=redis_with(entry=b'{"outputs": {}, "models": {}}')),
    Case(name="grants of NaN", redis=redis_with(grants=(b"nan", b"nan")), says=("limits.away",)),
    Case(
        name="commit map past the log's end",
        prepare_wire=_map_beyond_the_end,
        says=("commit.foreign_metadata",),
    ),
)
