"""Whatever has become of what was stored, each document has one end, the service goes on, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import stat
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from docsluice.messages import DocumentResult
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.side_tasks.budget_journal import BudgetJournal
from docsluice_consumer.store.ledger import Ledger
from docsluice_consumer.store.redis_quota import Asked, LimitsAway, RedisQuota
from docsluice_consumer.store.redis_store import RedisStore
from docsluice_consumer.store.retrying_store import RetryingStore
from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_consumer.store.step_store import NotBelieved, StepStore, StoreAway
from tests.examples import examples
from tests.fakes.damage import (
    Damage,
    bytes_changed,
    changing,
    column_changed,
    cut_short,
    cutting,
    entries_changed,
    entry_changed,
)
from tests.fakes.line import Line
from tests.fakes.pipelines import RESULTS
from tests.fakes.redis_wire import OK, array, bulk, redis_that_says
from tests.fakes.samples import document, steps
from tests.fakes.step_contracts import DAY, PLENTY, fingerprint, paid

DOCUMENTS = 4
_MOST_WAITS = 20


def _opened(path: Path) -> SqliteStore:
    return SqliteStore(path=path, max_bytes=PLENTY, max_age_seconds=DAY)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all that the documents were answered, as a service leaves it behind."""
    path = tmp_path_factory.mktemp("kept") / "steps.sqlite3"

    async def fill() -> None:
        store = _opened(path)
        await _all_end(store)
        await store.close()

    asyncio.run(fill())
    return path


async def _all_end(store: StepStore) -> Line:
    """Each document becomes a result, with the outputs that the steps ask for."""
    line = Line(store=store)
    async with asyncio.timeout(60):
        await asyncio.gather(*(line.process(document(f"Text {n}.", document_id=f"d{n}")) for n in range(DOCUMENTS)))
    published = line.sink.to(RESULTS)
    assert len(published) == len(line.sink.published) == DOCUMENTS, line.sink.published
    for outgoing in published:
        result = DocumentResult.model_validate_json(outgoing.value or b"")
        assert result.saved_usd.is_finite()
        assert 0 <= result.saved_usd < 10**10
        assert all(step.is_answered_by({step.name: result.outputs[step.name]}) for step in steps())
        assert result.models.keys() == result.outputs.keys() == {step.name for step in steps()}
        assert b":NaN" not in (outgoing.value or b""), "a text may say so, no number"
        assert b"nan" not in line.metrics.exposition().split(b"saved_usd_total ")[1].split(b"\n")[0]
    return line


async def _patient(store: StepStore, *, most_waits: int = _MOST_WAITS) -> RetryingStore:
    """As the service has it. To wait more often than a restart of a store takes is to wait for ever."""
    waits = 0

    async def sleep(_: float) -> None:
        nonlocal waits
        waits += 1
        assert waits < most_waits, "it is waited for without an end"
        await asyncio.sleep(0)

    patient = RetryingStore(store=store, is_optional=False, sleep=sleep)
    await patient.try_it()
    return patient


_STEPS_DAMAGED = st.one_of(
    bytes_changed(),
    cut_short(),
    column_changed("steps", ["fingerprint", "written_at", "step"]),
    entries_changed(),
)


_INDEX_CUT = cutting(0.968, b"")
_FREE_PAGES_CHANGED = changing([(36, b"\xdd")])
_FINGERPRINTS_CHANGED = changing([(4264, b"\xe7\xab"), (7985, b"\xf4\xb2\xbf\x8b")])


@given(damage=_STEPS_DAMAGED, is_running=st.booleans())
@example(damage=_INDEX_CUT, is_running=False)
@example(damage=_FREE_PAGES_CHANGED, is_running=False)
@example(damage=_FINGERPRINTS_CHANGED, is_running=False)
@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
async def test_a_file_of_steps_that_was_spoilt(kept: Path, damage: Damage, *, is_running: bool) -> None:
    """Before the start or while it runs: what can be believed is used, the rest needs new calls."""
    with tempfile.TemporaryDirectory() as folder, capture_logs():
        path = Path(shutil.copy(kept, folder))
        async with contextlib.AsyncExitStack() as stack:
            if is_running:
                store = _opened(path)
                stack.push_async_callback(store.close)
                await store.get(fingerprint("a"))
            damage(path)
            if not is_running:
                store = _opened(path)
                stack.push_async_callback(store.close)
            await _all_end(await _patient(store))
        for _ in range(2):  # what was overlooked the first time is met by the second start
            again = _opened(path)
            line = await _all_end(await _patient(again))
            await again.close()
        assert line.client.requests == [], "what was asked again is kept"


@given(damage=st.one_of(bytes_changed(), cut_short()), suffix=st.sampled_from(["-wal", "-shm"]))
@settings(max_examples=examples(30), suppress_health_check=list(HealthCheck))
async def test_what_lies_beside_a_file_of_steps_was_spoilt(kept: Path, damage: Damage, suffix: str) -> None:
    """While it runs, and after it was killed. What SQLite has mapped into memory nobody can cut, and nothing helps."""
    with tempfile.TemporaryDirectory() as folder, capture_logs():
        path = Path(shutil.copy(kept, folder))
        store = _opened(path)
        await store.put(fingerprint("a"), paid())
        killed = Path(folder) / "killed"
        killed.mkdir()
        for found in list(Path(folder).glob("steps*")):
            shutil.copy(found, killed)
        for place in (path, killed / path.name)[suffix == "-shm" :]:
            damage(place.with_name(place.name + suffix))
        await _all_end(await _patient(store))
        await store.close()
        for place in (path, killed / path.name):
            again = _opened(place)
            await _all_end(await _patient(again))
            await again.close()


@given(damage=st.one_of(bytes_changed(), cut_short(), column_changed("spent", ["member", "window", "began_at", "usd"])))
@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
async def test_a_ledger_that_was_spoilt(damage: Damage) -> None:
    """The service starts, the budget can be spent, and what is spent from then on is kept."""
    with tempfile.TemporaryDirectory() as folder, capture_logs():
        ledger = Ledger(folder=Path(folder), member="m")
        ledger.write(
            [("hour", time.time() // 3600 * 3600, Decimal(2)), ("day", time.time() // 86400 * 86400, Decimal(2))]
        )
        ledger.close()
        damage(Path(folder) / "spending.sqlite3")
        budget = Budget(usd_per_hour=Decimal(10), usd_per_day=Decimal(10**12))
        journal = BudgetJournal(
            budget=budget,
            ledger=Ledger(folder=Path(folder), member="m"),
            stop_because=lambda error: pytest.fail(repr(error)),
        )
        async with asyncio.timeout(60):
            await journal.start()
        assert 0 <= budget.wait_seconds(Decimal(1), now=time.time()) <= 3600
        assert all(0 <= one.usd < 10**10 for one in budget.spent(now=time.time()))
        budget.settle(Decimal(0), Decimal(1), now=time.time())
        await journal.close()
        read = Ledger(folder=Path(folder), member="m").read()
        assert sorted(read) == sorted(tuple(one) for one in budget.spent(now=time.time()))


_LYING_THERE = ["nothing", "a link", "a link to nothing", "a link to itself", "a folder", "a pipe", "a file"]


@given(
    lying=st.tuples(*[st.tuples(st.sampled_from(_LYING_THERE), st.integers(0, 0o777))] * 3),
    held=st.sampled_from([b"", b"SQLite format 3\0", b"x" * 5000]),
)
@example(lying=(("nothing", 0), ("nothing", 0), ("a folder", 0)), held=b"")
@example(lying=(("a file", 0), ("nothing", 0), ("nothing", 0)), held=b"")
@example(lying=(("a file", 0o004), ("nothing", 0), ("nothing", 0)), held=b"")
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_whatever_lies_in_the_ledgers_place(lying: tuple[tuple[str, int], ...], held: bytes) -> None:
    """It is used, and then by us alone, or it is said why not. What a link leads to is as it was."""
    with tempfile.TemporaryDirectory() as folder, capture_logs():
        state, elsewhere = Path(folder) / "state", Path(folder) / "elsewhere"
        state.mkdir()
        elsewhere.write_bytes(held)
        for suffix, (what, mode) in zip(("", "-wal", "-shm"), lying, strict=True):
            _lay(state / f"spending.sqlite3{suffix}", what, mode, held=held, elsewhere=elsewhere)
        ledger = Ledger(folder=state, member="m")
        try:
            ledger.read()
            ledger.write([("day", time.time(), Decimal(1))])
        except (ConfigurationError, StoreAway) as problem:
            assert "spending.sqlite3" in str(problem)  # noqa: PT017 - it may or may not be raised
        else:
            used = [found.lstat().st_mode for found in state.glob("spending.sqlite3*")]
            assert all(stat.S_ISREG(mode) and not stat.S_IMODE(mode) & 0o007 for mode in used)
        finally:
            ledger.close()
        assert elsewhere.read_bytes() == held
        assert sorted(found.name for found in Path(folder).iterdir()) == ["elsewhere", "state"]


def _lay(path: Path, what: str, mode: int, *, held: bytes, elsewhere: Path) -> None:
    match what:
        case "a link":
            path.symlink_to(elsewhere)
        case "a link to nothing":
            path.symlink_to(elsewhere.with_name("nothing"))
        case "a link to itself":
            path.symlink_to(path)
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a file":
            path.write_bytes(held)
            path.chmod(mode)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(4), suppress_health_check=list(HealthCheck))
async def test_a_redis_that_says_anything(seed: int) -> None:
    """To each command: what is right, what is right with something changed, or anything at all.

    In the end each document has its result: one more try, and there is an answer.
    """
    draw = random.Random(seed)
    entry = paid().written()

    def anything() -> bytes:
        lines = [
            b"$%d\r\n" % draw.choice([-5, 0, 3, 10**10]),
            b":5\r\n",
            b"+OK\r\n",
            b"*2\r\n",
            b"-ERR no\r\n",
            b"\r\n",
        ]
        return b"".join(draw.choices([*lines, draw.randbytes(5), bulk(b"nan")], k=draw.randrange(6)))

    def says(command: Sequence[bytes]) -> bytes:
        kind = draw.random()
        if kind < 0.2:
            return anything() or b"?\r\n"
        if command[0] == b"GET":
            return bulk(entry_changed(entry, draw) if kind < 0.6 else entry)
        if command[0] == b"SET":
            return OK
        odd = [b"nan", b"inf", b"-1", b"1e999", b"", b"x", b"5"]
        return array(*map(bulk, draw.choices(odd if kind < 0.6 else [b"5"], k=2)))

    async with asyncio.timeout(120), redis_that_says(says) as url:
        store = RedisStore(url=url, max_age_seconds=DAY)
        limits = RedisQuota(url=url, account="a", burst_seconds=1.0)
        for number in range(10):
            with contextlib.suppress(StoreAway, NotBelieved):
                step = await store.get(fingerprint(number))
                assert step is None or _is_sound(step)
            with contextlib.suppress(StoreAway):
                await store.put(fingerprint(number), paid())
            with contextlib.suppress(LimitsAway):
                asked = {"t": Asked(per_minute=60.0, wanted=5.0, needed=1.0, returned=0.0)}
                granted = await limits.exchange(asked, share=1.0)
                assert 0 <= granted["t"].amount <= 5.001
                assert 0 <= granted["t"].wait_seconds <= DAY
        await _all_end(await _patient(store, most_waits=50 * _MOST_WAITS))
        await store.close()
        await limits.close()


def _is_sound(step: Any) -> bool:
    return 0 <= step.cost_usd <= 10**9 and all(count >= 0 for count in dict(step.usage).values())
