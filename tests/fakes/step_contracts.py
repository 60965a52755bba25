"""What every store of steps must do: the same tests run against each kind of it.

A subclass in a test module says how to open one. Pytest collects it there and not here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from docsluice.messages import Usage
from docsluice_consumer.store.step_store import NotBelieved, PaidStep, StepStore

DAY = 86_400.0
PLENTY = 64 * 1024 * 1024
STEPS = {
    "a text": {"summary": "Tiếng Việt. \U0001f41f \u0000 \u2028 \"quoted\" \\ 'single'"},
    "a list": {"keywords": ["a", "", "ế"], "category": "tech"},
    "nested JSON": {"own": {"b": [1, 2.5, -1e-9, True, None, {"": []}], "a": {"ü": 12345678901234567890}}},
    "nothing": {},
    "a long text": {"summary": "x\n" * 500_000},
}


def _with(old: str, new: str) -> bytes:
    written = paid().written()
    assert old.encode() in written
    return written.replace(old.encode(), new.encode())


class SetClock:
    """Wall time that stands still until it is set."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def fingerprint(name: object) -> str:
    """As those of requests: 64 hexadecimal digits."""
    return hashlib.sha256(str(name).encode()).hexdigest()


def paid(answer: object = "An answer.", *, cost_usd: str = "0.0001") -> PaidStep:
    """A step of one task, or of those tasks that are given with their answers."""
    outputs: dict[str, Any] = answer if isinstance(answer, dict) else {"summary": answer}
    return PaidStep(
        outputs=outputs,
        models=dict.fromkeys(outputs, "gpt-4o-mini-2024-07-18"),
        usage=Usage(input_tokens=1200, output_tokens=34, cached_tokens=1024),
        cost_usd=Decimal(cost_usd),
    )


async def found(store: StepStore, name: object) -> PaidStep:
    """What is kept under it, as soon as something is."""
    async with asyncio.timeout(20):
        while (step := await store.get(fingerprint(name))) is None:
            await asyncio.sleep(0.01)
    return step


SPOILT = {
    "nothing": b"",
    "half of JSON": b"{",
    "null": b"null",
    "a list": b"[]",
    "a number": b"5",
    "no UTF-8": b"\xff\xfe",
    "cut": paid().written()[:-1],
    "of another form": _with('"form":1', '"form":2'),
    "half a character": _with("An answer", "\\ud800"),
    "not a number in an output": _with('"An answer."', "NaN"),
    "infinity deep in an output": _with('"An answer."', '{"a":[1,{"b":-1e999}]}'),
    "a number beyond all floats": _with('"An answer."', "9" * 400),
    "deeper than any answer": _with('"An answer."', "[" * 300 + "]" * 300),
    "no cost": _with('"cost_usd":"0.0001"', '"cost_usd":"NaN"'),
    "a cost without an end": _with('"cost_usd":"0.0001"', '"cost_usd":"Infinity"'),
    "an absurd cost": _with('"cost_usd":"0.0001"', '"cost_usd":"1e999"'),
    "a cost with a million places": _with('"cost_usd":"0.0001"', '"cost_usd":"1e-999999"'),
    "a cost below nothing": _with('"cost_usd":"0.0001"', '"cost_usd":"-0.0001"'),
    "tokens below nothing": _with('"input_tokens":1200', '"input_tokens":-1200'),
    "absurd tokens": _with('"input_tokens":1200', '"input_tokens":' + "9" * 40),
    "tokens that are none": _with('"input_tokens":1200', '"input_tokens":"many"'),
    "outputs that are none": _with('{"summary":"An answer."}', '"An answer."'),
    "no model": _with('"models":{"summary":"gpt-4o-mini-2024-07-18"}', '"models":{}'),
    "another task's model": _with('"models":{"summary"', '"models":{"category"'),
    "a field of somebody else's": _with('"form":1', '"form":1,"more":1'),
}
"""Entries that another release, another program or a failing disk may have left behind."""


class StepStoreContract(ABC):
    """See `StepStore`."""

    @abstractmethod
    def opened(self) -> StepStore:
        """A store with room for everything, which keeps a step for a day."""

    @abstractmethod
    async def spoil(self, store: StepStore, fingerprint: str, written: bytes) -> None:
        """Have it hold this under the fingerprint, as another release or a fault might."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[StepStore]:
        store = self.opened()
        yield store
        await store.close()

    @pytest.mark.parametrize("outputs", STEPS.values(), ids=list(STEPS))
    async def test_what_was_put_is_got(self, store: StepStore, outputs: dict[str, Any]) -> None:
        """Every letter of it."""
        await store.put(fingerprint("a"), paid(outputs))
        assert await store.get(fingerprint("a")) == paid(outputs)

    @pytest.mark.parametrize("cost", ["0", "0.1", "0.000000000123456789012345678901", "987654321.0123456789"])
    async def test_a_cost_keeps_its_digits(self, store: StepStore, cost: str) -> None:
        """All of them: they are added up."""
        await store.put(fingerprint("a"), paid(cost_usd=cost))
        got = await store.get(fingerprint("a"))
        assert got is not None
        assert got.cost_usd == Decimal(cost)

    async def test_what_was_never_put_is_unknown(self, store: StepStore) -> None:
        """Whatever else is there."""
        assert await store.get(fingerprint("a")) is None
        await store.put(fingerprint("a"), paid())
        assert await store.get(fingerprint("b")) is None

    async def test_the_later_put_counts(self, store: StepStore) -> None:
        """It takes the place of the earlier one, and of no other."""
        for answer in ("first", "second", "third"):
            await store.put(fingerprint("a"), paid(answer))
            await store.put(fingerprint(answer), paid(answer))
        assert await store.get(fingerprint("a")) == paid("third")
        assert await store.get(fingerprint("first")) == paid("first")

    async def test_what_is_put_is_as_it_was_then(self, store: StepStore) -> None:
        """Whatever becomes of the lists in it afterwards."""
        outputs = {"keywords": ["a"]}
        await store.put(fingerprint("a"), paid(outputs))
        outputs["keywords"].append("b")
        got = await store.get(fingerprint("a"))
        assert got is not None
        got.outputs["keywords"].append("c")
        assert await store.get(fingerprint("a")) == paid({"keywords": ["a"]})

    async def test_many_at_once(self, store: StepStore) -> None:
        """Each gets its own answer."""
        await asyncio.gather(*(store.put(fingerprint(n), paid(f"answer {n}")) for n in range(0, 600, 2)))
        got = await asyncio.gather(*(store.get(fingerprint(n)) for n in range(600)))
        assert got == [None if n % 2 else paid(f"answer {n}") for n in range(600)]

    async def test_puts_and_gets_at_once(self, store: StepStore) -> None:
        """What is got is what was there before, or what comes then."""
        await store.put(fingerprint("a"), paid("before"))
        got = await asyncio.gather(
            store.get(fingerprint("a")),
            store.put(fingerprint("a"), paid("then")),
            store.get(fingerprint("a")),
            store.put(fingerprint("b"), paid("other")),
        )
        assert [step for step in (got[0], got[2]) if step not in (paid("before"), paid("then"))] == []
        assert await store.get(fingerprint("a")) == paid("then")

    @pytest.mark.parametrize("written", SPOILT.values(), ids=list(SPOILT))
    async def test_what_is_no_step_is_not_believed(self, store: StepStore, written: bytes) -> None:
        """Neither a failure of the store nor half a step. Nothing of it is quoted, and the next put replaces it."""
        await store.put(fingerprint("a"), paid())
        await store.put(fingerprint("b"), paid())
        await self.spoil(store, fingerprint("a"), written)
        answers = await asyncio.gather(store.get(fingerprint("a")), store.get(fingerprint("b")), return_exceptions=True)
        assert isinstance(answers[0], NotBelieved)
        assert "An answer" not in str(answers[0])
        assert answers[1] == paid()
        await store.put(fingerprint("a"), paid())
        assert await store.get(fingerprint("a")) == paid()

    @pytest.mark.parametrize("turns", range(4))
    async def test_a_put_that_nobody_waits_for_is_kept(self, store: StepStore, turns: int) -> None:
        """However far it had come when the document's task was cancelled: the step is paid for."""
        waiting = asyncio.create_task(store.put(fingerprint("a"), paid()))
        await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert await found(store, "a") == paid()

    async def test_who_is_cancelled_spoils_nothing_for_others(self, store: StepStore) -> None:
        """Those who have asked in the same moment have their answers."""
        await store.put(fingerprint("a"), paid())
        leaving = [asyncio.create_task(store.get(fingerprint("a"))) for _ in range(5)]
        leaving += [asyncio.create_task(store.get(fingerprint("b"))) for _ in range(5)]
        staying = [asyncio.create_task(store.get(fingerprint("a"))) for _ in range(5)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        assert await asyncio.gather(*staying) == [paid()] * 5

    async def test_closing_twice_is_harmless(self) -> None:
        """As it is to close what was never used."""
        store = self.opened()
        await store.close()
        await store.close()


class LastingStepStoreContract(StepStoreContract):
    """Of those that outlive the process: `opened` opens the same place each time."""

    async def test_it_is_there_after_reopening(self) -> None:
        """All of it, and what is put then is put to it."""
        for n in range(3):
            store = self.opened()
            assert [await store.get(fingerprint(m)) for m in range(4)] == [paid(m) if m < n else None for m in range(4)]
            await store.put(fingerprint(n), paid(n))
            await store.close()

    async def test_two_see_what_either_puts(self) -> None:
        """At once, and the later put counts, from any process."""
        one, other = self.opened(), self.opened()
        for n, (writer, reader) in enumerate([(one, other), (other, one)] * 5):
            await writer.put(fingerprint("a"), paid(n))
            assert await reader.get(fingerprint("a")) == paid(n)
        await one.close()
        assert await other.get(fingerprint("a")) == paid(9)
        await other.close()

    async def test_closing_waits_for_what_was_put(self) -> None:
        """Also for what nobody waits for any more."""
        store = self.opened()
        waiting = [asyncio.create_task(store.put(fingerprint(n), paid(n))) for n in range(1000)]
        await asyncio.sleep(0)
        for task in waiting[::2]:
            task.cancel()
        await store.close()
        await asyncio.gather(*waiting, return_exceptions=True)
        again = self.opened()
        assert await asyncio.gather(*(again.get(fingerprint(n)) for n in range(1000))) == [paid(n) for n in range(1000)]
        await again.close()


class AgingStepStoreContract(StepStoreContract):
    """Of those that are told the time: `opened` gives the store `self.clock`."""

    clock: SetClock

    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.clock = SetClock()

    async def test_what_is_too_old_is_unknown(self, store: StepStore) -> None:
        """After a day, to the second. A put makes it young again."""
        await store.put(fingerprint("a"), paid())
        self.clock.now += DAY
        assert await store.get(fingerprint("a")) == paid()
        self.clock.now += 1.0
        assert await store.get(fingerprint("a")) is None
        await store.put(fingerprint("a"), paid("young"))
        self.clock.now += DAY
        assert await store.get(fingerprint("a")) == paid("young")

    async def test_a_clock_that_was_wrong_keeps_nothing_for_ever(self, store: StepStore) -> None:
        """What was put a year ahead counts as old when the clock is right again. A second back is nothing."""
        self.clock.now += 365 * DAY
        await store.put(fingerprint("a"), paid())
        self.clock.now -= 1.0
        assert await store.get(fingerprint("a")) == paid()
        self.clock.now -= 365 * DAY
        assert await store.get(fingerprint("a")) is None
