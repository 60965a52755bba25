"""A provider that misbehaves in every way, on the wire: which documents it costs, and which it must not."""

from __future__ import annotations

import pytest

from docsluice_consumer.errors import ProviderMisconfigured
from docsluice_local.rehearsal.faults import Fault
from docsluice_local.rehearsal.outages import REFUSED
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.integration.wire import Wire, document, serving, stopped_by_itself, until

LASTING = {
    "refusal": "refused",
    "content_filter": "content_filtered",
    "content_filter_400": "content_filtered",
    "truncated": "truncated",
    "context_length_exceeded": "too_large",
    "request_too_large": "too_large",
    "invalid_json": "invalid_answer",
    "wrong_schema": "invalid_answer",
}
PASSING = ["429", "429_bare", "500", "502", "503", "reset", "hang", "invalid_json", "wrong_schema"]


async def test_what_is_the_documents_fault_becomes_its_dead_letter(wire: Wire, provider: RehearsalProvider) -> None:
    """Each lasting fault ends as a dead letter with its own reason and step, and the healthy document as a result."""
    await wire.create_topics()
    faulty = [document(fault, f"A text. [[rehearse:{fault}]]") for fault in LASTING]
    await wire.produce([*faulty, document("healthy")])
    async with serving(wire.settings(provider.base_url, mode="fused")):
        found = {outcome.document_id: outcome for outcome in await wire.outcomes(len(LASTING) + 1)}
    assert {fault: found[fault].reason for fault in LASTING} == LASTING
    assert all(found[fault].step == "fused" and found[fault].stage == "analyze" for fault in LASTING)
    assert not found["healthy"].is_dead_letter


async def test_an_invalid_answer_is_asked_again_once(wire: Wire, provider: RehearsalProvider) -> None:
    """One repair for an answer that misses the schema, and no more."""
    await wire.create_topics()
    await wire.produce([document("lasting", "A text. [[rehearse:wrong_schema]]"), document("healthy")])
    async with serving(wire.settings(provider.base_url, mode="fused")):
        found = {outcome.document_id: outcome for outcome in await wire.outcomes(2)}
    assert found["lasting"].fields["attempts"] == 2
    assert len(provider.calls) == 3


async def test_what_passes_is_tried_again(wire: Wire, provider: RehearsalProvider) -> None:
    """A fault that goes away costs an attempt and never the document."""
    await wire.create_topics()
    await wire.produce(document(fault, f"A text. [[rehearse:{fault}x1]]") for fault in PASSING)
    async with serving(wire.settings(provider.base_url, mode="fused", request_timeout_seconds=1.0)):
        found = {outcome.document_id: outcome for outcome in await wire.outcomes(len(PASSING))}
    assert not any(outcome.is_dead_letter for outcome in found.values())
    assert all(found[fault].fields["attempts"] == 2 for fault in PASSING)


@pytest.mark.parametrize("fault", ["500", "hang", "reset"])
async def test_attempts_run_out_only_while_others_succeed(wire: Wire, provider: RehearsalProvider, fault: str) -> None:
    """A document that fails for good, while the provider answers others, ends as attempts_exhausted."""
    await wire.create_topics()
    others = [document(f"d{n}", f"Text {n}.") for n in range(60)]
    await wire.produce([document("hopeless", f"A text. [[rehearse:{fault}]]"), *others])
    settings = wire.settings(
        provider.base_url, mode="fused", max_attempts=2, request_timeout_seconds=0.3, max_concurrency=2
    )
    async with serving(settings):
        # Others keep on coming, for attempts count only while somebody else is answered.
        provided = 60

        async def given_up() -> bool:
            nonlocal provided
            await wire.produce(document(f"d{provided + n}", f"Text {provided + n}.") for n in range(10))
            provided += 10
            return await wire.count("dead_letter") == 1

        await until(given_up, what="the hopeless document is given up")
        found = {outcome.document_id: outcome for outcome in await wire.outcomes(provided + 1)}
    assert found["hopeless"].reason == "attempts_exhausted"
    assert sum(outcome.is_dead_letter for outcome in found.values()) == 1


@pytest.mark.parametrize("outage", ["503", REFUSED, "insufficient_quota"])
async def test_an_outage_dead_letters_nothing(wire: Wire, outage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down, refusing or out of quota: documents wait, more often than they have attempts, and all become results."""
    monkeypatch.setattr("docsluice_consumer.admission.circuit_breaker._SHUT_PAUSE_SECONDS", 0.2)
    await wire.create_topics()
    async with rehearsal_provider() as provider:
        provider.outages.begin(outage, seconds=2.0)
        await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(20))
        async with serving(wire.settings(provider.base_url, mode="fused", max_attempts=1)):
            found = await wire.outcomes(20)
    assert not any(outcome.is_dead_letter for outcome in found)
    assert await wire.count("dead_letter") == 0


async def test_a_rate_limit_is_obeyed(wire: Wire) -> None:
    """Against a provider that enforces the configured limits there is not one 429."""
    await wire.create_topics()
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(25))
    limits = RehearsalSettings(requests_per_minute=600, tokens_per_minute=60_000)
    async with (
        rehearsal_provider(limits) as provider,
        serving(wire.settings(provider.base_url, mode="fused", requests_per_minute=600, tokens_per_minute=60_000)),
    ):
        await wire.outcomes(25)
        assert {call.status for call in provider.calls} == {200}


MISCONFIGURED = {
    "a bad key": (RehearsalSettings(api_key="sk-right"), "OPENAI_API_KEY"),
    "an unknown model": (RehearsalSettings(models=("another",)), "gpt-4o-mini"),
}


@pytest.mark.parametrize("case", list(MISCONFIGURED))
async def test_a_fault_of_the_world_stops_the_service(wire: Wire, case: str) -> None:
    """A bad key or an unknown model stops the service with a clear message: no dead letter, nothing committed."""
    settings, named = MISCONFIGURED[case]
    await wire.create_topics()
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(20))
    async with rehearsal_provider(settings) as provider:
        with pytest.raises(ProviderMisconfigured, match=named) as raised:
            async with serving(wire.settings(provider.base_url, openai_api_key="sk-wrong")) as service:
                await stopped_by_itself(service)
    assert "sk-wrong" not in str(raised.value)
    assert await wire.count("dead_letter") == 0
    assert await wire.count("result") == 0
    assert await wire.committed() == 0


@pytest.mark.parametrize("weaker", [{"json_schema": False}, {"json_schema": False, "json_object": False}])
async def test_servers_without_structured_outputs(wire: Wire, weaker: dict[str, bool]) -> None:
    """A server that knows no JSON schema is asked in words, and no document pays for finding that out."""
    await wire.create_topics()
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(5))
    async with (
        rehearsal_provider(RehearsalSettings(**weaker)) as provider,  # type: ignore[arg-type]
        serving(wire.settings(provider.base_url)),
    ):
        found = await wire.outcomes(5)
        refused = [call for call in provider.calls if call.status == 400]
    assert not any(outcome.is_dead_letter for outcome in found)
    assert 1 <= len(refused) <= 2 * 16  # no more than the first calls in flight
    assert all(outcome.fields["attempts"] == 3 for outcome in found)


async def test_a_document_that_is_held_stops_nobody(wire: Wire, provider: RehearsalProvider) -> None:
    """All the others pass it. Let go, it ends like any other, with one call."""
    await wire.create_topics()
    others = [document(f"d{n}", f"Text {n}.") for n in range(20)]
    await wire.produce([document("held", "A text. [[rehearse:hold]]"), *others])
    async with serving(wire.settings(provider.base_url, mode="fused", max_concurrency=4)):
        passed = {outcome.document_id for outcome in await wire.outcomes(20)}
        assert passed == {f"d{n}" for n in range(20)}
        provider.outages.released.set()
        assert len(await wire.outcomes(21)) == 21
    assert len(provider.calls) == 21


def test_every_fault_of_the_provider_is_tried_here() -> None:
    """A new way to fail must find its test."""
    outages = {"503", "insufficient_quota"}
    assert {fault.value for fault in Fault} == {*LASTING, *PASSING, *outages, "401", "404", "hold"}
