"""Outages that are begun and ended while the rehearsal provider runs."""

from __future__ import annotations

import asyncio
import json

import pytest

from docsluice_local.rehearsal.chat import read_call
from docsluice_local.rehearsal.faults import Fault, Trouble
from docsluice_local.rehearsal.judge import Judge
from docsluice_local.rehearsal.outages import Outages
from docsluice_local.rehearsal.settings import RehearsalSettings


def _outages() -> tuple[Outages, Judge]:
    judge = Judge(settings=RehearsalSettings(), now=0)
    return Outages(judge=judge), judge


def _fault(judge: Judge, model: str) -> Trouble | None:
    body = {"model": model, "messages": [{"role": "user", "content": "A document."}]}
    return judge.decide(read_call(json.dumps(body).encode()), now=0).fault


@pytest.mark.parametrize("fault", list(Fault))
async def test_any_fault_can_be_an_outage(fault: Fault) -> None:
    """Until it is ended, every call meets it."""
    outages, judge = _outages()
    outages.order({"outage": fault.value})
    assert [_fault(judge, model) for model in ("a", "b")] == [fault, fault]
    outages.order({"outage": None})
    assert _fault(judge, "a") is None


async def test_an_outage_can_be_one_models_own() -> None:
    """The others are answered. Ending the outage of all models leaves it."""
    outages, judge = _outages()
    outages.order({"outage": "insufficient_quota", "model": "a"})
    outages.order({"outage": "503", "model": "b"})
    assert [_fault(judge, model) for model in ("a", "b", "c")] == [Fault.INSUFFICIENT_QUOTA, Fault.OVERLOADED, None]
    outages.order({"outage": None})
    outages.order({"outage": None, "model": "a"})
    assert [_fault(judge, model) for model in ("a", "b", "c")] == [None, Fault.OVERLOADED, None]
    outages.clear()
    assert _fault(judge, "b") is None


async def test_an_outage_of_all_models_goes_before_one_of_a_single_model() -> None:
    """Ended, it leaves the other in force."""
    outages, judge = _outages()
    outages.begin("503", model="a")
    outages.begin("500")
    assert [_fault(judge, model) for model in ("a", "b")] == [Fault.INTERNAL_ERROR] * 2
    outages.end()
    assert [_fault(judge, model) for model in ("a", "b")] == [Fault.OVERLOADED, None]


async def test_each_outage_ends_at_its_own_time() -> None:
    """Seconds are counted for each model apart, and the alarm of an outage that was replaced is off."""
    outages, judge = _outages()
    outages.begin("503", model="a", seconds=0)
    outages.begin("503", model="b", seconds=3600)
    outages.begin("500", model="c", seconds=0)
    outages.begin("500", model="c", seconds=3600)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [_fault(judge, model) for model in ("a", "b", "c")] == [None, Fault.OVERLOADED, Fault.INTERNAL_ERROR]
    outages.clear()


@pytest.mark.parametrize(
    "order",
    [
        {"outage": "refused"},
        {"outage": "refused", "seconds": 1, "model": "a"},
        {"outage": "no such fault"},
        {"rates": {"503": 2}},
        {"outrage": "503"},
    ],
)
async def test_an_order_that_cannot_be_carried_out_changes_nothing(order: dict[str, object]) -> None:
    """It is refused with a reason, and the outage that there was goes on."""
    outages, judge = _outages()
    outages.on_refused = lambda seconds: None
    outages.begin("500")
    with pytest.raises(ValueError, match=r"."):
        outages.order(order)
    assert _fault(judge, "a") is Fault.INTERNAL_ERROR
