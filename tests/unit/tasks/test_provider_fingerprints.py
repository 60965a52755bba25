"""What tells answers of one provider from those of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docsluice_consumer.bootstrap import prices_of
from docsluice_consumer.model_ref import DEFAULT_PROVIDER, ModelRef
from docsluice_consumer.tasks.step_building import steps_of
from tests.fakes.provider_entries import MILLION, OWN_URL, PER_MILLION, file_of, settings_with


def test_ones_own_prices_hold_at_all_providers(tmp_path: Path) -> None:
    """By the name under which the model is written."""
    path = tmp_path / "prices.yaml"
    path.write_text(f"own/m: {PER_MILLION}\nm: {{input_usd_per_million_tokens: 5, output_usd_per_million_tokens: 5}}\n")
    prices = prices_of(settings_with(prices=str(path)), file_of())
    assert prices.cost_usd(ModelRef("own", "m"), MILLION) == 3
    assert prices.cost_usd(ModelRef(DEFAULT_PROVIDER, "m"), MILLION) == 10
    assert prices.has_own(ModelRef("own", "m"))
    assert not prices.has_own(ModelRef("own", "other"))


def _print(providers: dict[str, Any], *, model: Any = "own/m", default_url: str = "") -> str:
    file = file_of(model=model, providers=providers)
    (step,) = steps_of(file, mode="fanout", default_model="m", default_url=default_url)
    return step.fingerprint("text")


def test_answers_of_providers_as_they_were_are_still_good() -> None:
    """What was paid for before headers and versions counted is found again, where a file has none that count."""
    own, other = {"base_url": OWN_URL}, {"base_url": "http://other/v1"}
    assert _print({"own": own}) == "4d2467dd3e29c265f189aa7c6bd827f373dc77e5bd17aaaf6b7e442679aa4e80"
    chain = _print({"own": own, "other": other}, model=["own/m", "other/m", "m"], default_url="http://third/v1")
    assert chain == "273ce04f8f1a69f8b0ab83dd66ce42cee8906b4108bcfe9e5ac28351483bc2cd"
    one_address = _print({"own": own, "other": own}, model=["own/m", "other/m"])
    assert one_address == "d274b57a74071457652a955cc0ff8503f04752e958eeda8a805f312c241409b1"
    model_caller = {"headers": {"X-Title": "a", "HTTP-Referer": "https://a", "User-Agent": "a"}, "api_key_env": "K"}
    assert _print({"own": {**own, **model_caller, "requests_per_minute": 5, "timeout_seconds": 3}}) == _print(
        {"own": own}
    )


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "http://localhost:8001/v1"},
        {"azure": {"api_version": "2024-10-21"}},
        {"headers": {"anthropic-beta": "context-1m"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_providers_of_one_name_share_no_answers_that_may_differ(change: dict[str, Any]) -> None:
    """The address, the version of the interface and the headers all shape what is answered."""
    entry = {"base_url": OWN_URL, "azure": {"api_version": "2024-06-01"}, "headers": {"anthropic-beta": "none"}}
    assert _print({"own": {**entry, **change}}) != _print({"own": entry})
    assert _print({"own": entry}) != _print({"own": {"base_url": OWN_URL}})


def test_the_case_of_a_header_and_the_order_are_the_same_question() -> None:
    """HTTP knows no difference."""
    entry = {"base_url": OWN_URL, "headers": {"A-Beta": "1", "B-Beta": "2"}}
    other = {"base_url": OWN_URL, "headers": {"b-beta": "2", "a-beta": "1"}}
    assert _print({"own": entry}) == _print({"own": other})


def test_a_header_that_may_be_secret_is_no_part_of_the_fingerprint() -> None:
    """Not even hashed."""
    entry = {"base_url": OWN_URL, "headers": {"X-Session-Token": "a"}}
    assert _print({"own": entry}) == _print({"own": {"base_url": OWN_URL}})


def test_a_provider_that_moves_to_the_address_of_another_shares_no_answers() -> None:
    """The third of a chain may be at the first's address or at the second's."""
    first, second = {"base_url": "http://one/v1"}, {"base_url": "http://two/v1"}
    chain = ["own/m", "b/m", "c/m"]
    at_first = _print({"own": first, "b": second, "c": first}, model=chain)
    assert at_first != _print({"own": first, "b": second, "c": second}, model=chain)


def test_the_headers_of_a_provider_outside_the_chain_are_no_part_of_it() -> None:
    """Nobody there is asked."""
    own, other = {"base_url": OWN_URL}, {"base_url": "http://other/v1", "headers": {"a-beta": "1"}}
    assert _print({"own": own, "other": other}) == _print({"own": own})
