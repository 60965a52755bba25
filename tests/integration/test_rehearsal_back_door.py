"""The rehearsal provider's back door over HTTP, and what its call log holds for an auditor."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from docsluice_consumer.errors import CallRefused
from docsluice_local.rehearsal.faults import Fault
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.fakes.samples import chat_request
from tests.integration.llm_client import client_at


async def _ask(
    provider: RehearsalProvider, method: str, path: str, body: Any = None
) -> tuple[int, Any, dict[str, str]]:
    url = provider.base_url.removesuffix("/v1") + path
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as response:
        return response.status, await response.json(), {name.lower(): value for name, value in response.headers.items()}


async def _chat(provider: RehearsalProvider, *, model: str = "m") -> tuple[int, Any, dict[str, str]]:
    body = {"model": model, "messages": [{"role": "user", "content": "word " * 40}], "max_tokens": 100}
    return await _ask(provider, "POST", "/v1/chat/completions", body)


async def test_the_log_tells_what_each_call_took_and_which_limit_refused_it() -> None:
    """Reserved before, used after, and the limit by its name: enough to audit every limit from the log alone."""
    settings = RehearsalSettings(output_tokens_per_minute=120, reserved_output_tokens=60)
    async with rehearsal_provider(settings) as provider:
        assert [(await _chat(provider))[0] for _ in range(6)][-1] == 429
        _, log, _ = await _ask(provider, "GET", "/rehearsal/calls")
    assert [limits["per_minute"] for limits in log["limits"]] == [{"output_tokens": 120}]
    passed = [call for call in log["calls"] if call["status"] == 200]
    refused = [call for call in log["calls"] if call["status"] == 429]
    assert {(call["reserved_input_tokens"], call["reserved_output_tokens"]) for call in passed} == {(50, 60)}
    assert all(call["prompt_tokens"] == 50 and 0 < call["completion_tokens"] < 60 for call in passed)
    assert {(call["limited_by"], call["reserved_output_tokens"]) for call in refused} == {("output_tokens", 0)}
    assert {call["limited_by"] for call in passed} == {None}


async def test_limits_change_while_the_provider_runs() -> None:
    """From one call to the next, in the headers too. The log keeps which limits were in force when."""
    async with rehearsal_provider(RehearsalSettings(requests_per_minute=6_000)) as provider:
        assert (await _chat(provider))[2]["x-ratelimit-limit-requests"] == "6000"
        order = {"requests": 60, "input_tokens": 6_000}
        assert (await _ask(provider, "POST", "/rehearsal/limits", order))[:2] == (200, order)
        statuses = [await _chat(provider) for _ in range(3)]
        assert [status for status, _, _ in statuses][-1] == 429
        assert statuses[-1][2]["x-ratelimit-limit-requests"] == "60"
        assert "x-ratelimit-limit-input-tokens" in statuses[-1][2]
        await _ask(provider, "POST", "/rehearsal/limits", {"requests": None, "input_tokens": None})
        status, _, headers = await _chat(provider)
        assert status == 200
        assert not any(name.startswith("x-ratelimit") for name in headers)
        in_force = [dict(limits.per_minute) for limits in provider.calls.limits]
    assert in_force == [{"requests": 6_000}, order, {}]


async def test_the_headers_are_those_of_the_models_own_limits() -> None:
    """Where limits are by model, a reply tells what is left to its own."""
    async with rehearsal_provider(RehearsalSettings(requests_per_minute=60, limits_by_model=True)) as provider:
        left = [(await _chat(provider, model=model))[2]["x-ratelimit-remaining-requests"] for model in ("a", "b")]
    assert left == ["59", "59"]


async def test_an_order_that_makes_no_sense_is_refused() -> None:
    """A limit that does not exist or is not above 0: a 400, and the limits stay."""
    async with rehearsal_provider(RehearsalSettings(requests_per_minute=6_000)) as provider:
        orders: list[Any] = [{"request": 5}, {"requests": 0}, {"requests": "many"}, ["requests"], {"requests": []}]
        for order in orders:
            assert (await _ask(provider, "POST", "/rehearsal/limits", order))[0] == 400
        assert "request is no limit; there are requests, tokens" in str(
            await _ask(provider, "POST", "/rehearsal/limits", orders[0])
        )
        assert (await _chat(provider))[2]["x-ratelimit-limit-requests"] == "6000"
        assert len(provider.calls.limits) == 1


async def test_an_outage_of_one_model_over_http() -> None:
    """An empty account for one model, the other is answered, and null ends it."""
    async with rehearsal_provider() as provider:
        await _ask(provider, "POST", "/rehearsal/faults", {"outage": "insufficient_quota", "model": "a"})
        assert [(await _chat(provider, model=model))[0] for model in ("a", "b")] == [429, 200]
        await _ask(provider, "POST", "/rehearsal/faults", {"outage": None, "model": "a"})
        assert (await _chat(provider, model="a"))[0] == 200


async def test_counts_are_to_be_had_without_the_log() -> None:
    """How many calls there were, how many are in flight, and how they ended, until the log is emptied."""
    async with rehearsal_provider() as provider:
        await _chat(provider)
        provider.outages.begin(Fault.OVERLOADED)
        await _chat(provider)
        counted = {"calls": 2, "in_flight": 0, "statuses": {"200": 1, "503": 1}}
        assert (await _ask(provider, "GET", "/rehearsal/counts"))[1] == counted
        await _ask(provider, "DELETE", "/rehearsal/calls")
        assert (await _ask(provider, "GET", "/rehearsal/counts"))[1]["statuses"] == {}


async def test_calls_in_flight_slow_one_another_down() -> None:
    """A call that comes while another is held takes twice as long on a server that takes one with ease."""
    settings = RehearsalSettings(median_seconds=0.01, slow_past=1)
    async with rehearsal_provider(settings) as provider:
        await _chat(provider)
        with provider.calls.under_way():
            await _chat(provider)
        alone, _, beside = provider.calls
    assert beside.latency_seconds == 2 * alone.latency_seconds


async def test_a_misspelt_marker_is_told_and_stops_nothing_else() -> None:
    """It is refused like any bad request. Naming the faults that there are would tell of an empty account."""
    async with rehearsal_provider(RehearsalSettings()) as provider, client_at(provider.base_url) as client:
        with pytest.raises(CallRefused, match="no fault is called"):
            await client.ask(chat_request("A story. [[rehearse:refusel]]"))
