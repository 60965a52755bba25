"""Whatever a provider says once, and never again, costs the documents a minute or two at most."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallTimedOut,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from docsluice_consumer.llm.chat import ChatRequest
from tests.examples import examples
from tests.fakes.chat import Reply, right
from tests.fakes.town import Town

DOCUMENTS = 100
_PER_MINUTE = st.dictionaries(
    st.sampled_from(["requests", "tokens", "input_tokens", "output_tokens"]),
    st.one_of(st.sampled_from([1.0, 1e308]), st.floats(min_value=1, max_value=1e6)),
)
_SECONDS = st.one_of(st.none(), st.sampled_from([0.0, 3600.0, 1e9]), st.floats(min_value=0, max_value=1e6))
_KINDS = st.sampled_from([RateLimited, ProviderUnavailable, QuotaExhausted, CallTimedOut, AnswerUnreadable])


def _fault(kind: type[AttemptFailed], seconds: float | None, limits: dict[str, float], period: float | None) -> Any:
    fault = kind("no", retry_after_seconds=seconds, limits=limits)
    if isinstance(fault, QuotaExhausted):
        fault.period_seconds = period
    return fault


@given(
    said=st.lists(
        st.one_of(_PER_MINUTE, st.builds(_fault, _KINDS, _SECONDS, _PER_MINUTE, st.sampled_from([None, 3600.0, 1e6]))),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=examples(25))
async def test_what_is_said_once_is_not_believed_for_long(said: list[Any]) -> None:
    """Limits in answers and refusals, pauses that are asked for, quotas of a day. A few of them in a row."""
    left = list(said)

    def reply(request: ChatRequest) -> Reply:
        if not left:
            return right(request)
        odd = left.pop(0)
        return replace(right(request), limits=odd) if isinstance(odd, dict) else odd

    town = Town(reply)
    try:
        await town.come(*(f"text {number}" for number in range(DOCUMENTS)))
        await town.lab.timer.run(60 * len(said) + 120)
        assert len(town.ended()) == DOCUMENTS, f"{len(town.ended())} have ended"
        await town.come(*(f"later {number}" for number in range(DOCUMENTS)))
        await town.lab.timer.run(30)
        assert len(town.ended()) == 2 * DOCUMENTS, "work goes on at its full pace"
    finally:
        await town.close()


@pytest.mark.parametrize("per_minute", [1.0, 1e308])
async def test_a_limit_that_is_said_again_and_again_is_kept(per_minute: float) -> None:
    """It is no slip then: after those that were out already, one a minute go out."""
    town = Town(lambda request: replace(right(request), limits={"requests": per_minute}))
    await town.come(*(f"text {number}" for number in range(30)))
    await town.lab.timer.run(600)
    assert (len(town.ended()) <= 10 + 10) == (per_minute <= 1), len(town.ended())
    await town.close()
