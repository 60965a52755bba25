"""What calls cost, to the last digit."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import Usage
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm import pricing
from docsluice_consumer.llm.pricing import OwnPrice, PriceList, PriceRules, Prices, load_own_prices
from docsluice_consumer.model_ref import model_ref
from tests.fakes.prices import MODEL, FakePrices
from tests.fakes.yaml_problems import without_place

OWN = {
    "input_usd_per_million_tokens": Decimal("0.15"),
    "output_usd_per_million_tokens": Decimal("0.6"),
    "cached_input_usd_per_million_tokens": Decimal("0.075"),
}
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000, cached_tokens=400_000)
COUNTS = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(), "0"),
        (Usage(input_tokens=1), "0.00000015"),
        (Usage(output_tokens=1), "0.0000006"),
        (Usage(input_tokens=1000, cached_tokens=1000), "0.000075"),
        (Usage(input_tokens=1200, output_tokens=150, cached_tokens=1024), "0.0001932"),
        (MILLION, "0.72"),
    ],
)
def test_own_prices(usage: Usage, dollars: str) -> None:
    """Cached tokens are a part of the input, at their own price."""
    assert OwnPrice(**OWN).cost_usd(usage) == Decimal(dollars)


def test_cached_input_costs_as_much_as_other_input_unless_said() -> None:
    """A price of nothing is a price, and is not taken for one that was left out."""
    without = OwnPrice(input_usd_per_million_tokens=Decimal(2), output_usd_per_million_tokens=Decimal(0))
    free = without.model_copy(update={"cached_input_usd_per_million_tokens": Decimal(0)})
    usage = Usage(input_tokens=1_000_000, cached_tokens=500_000)
    assert without.cost_usd(usage) == 2
    assert free.cost_usd(usage) == 1


@given(read=COUNTS, written=COUNTS, data=st.data())
def test_dollars_are_exact(read: int, written: int, data: st.DataObject) -> None:
    """No float comes between: the cost is the integer sum in units of the smallest price."""
    cached = data.draw(st.integers(0, read))
    cost = OwnPrice(**OWN).cost_usd(Usage(input_tokens=read, output_tokens=written, cached_tokens=cached))
    nano_dollars = (read - cached) * 150 + cached * 75 + written * 600
    assert cost == Decimal(nano_dollars).scaleb(-9)


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=20))
def test_costs_of_calls_add_up_to_the_cost_of_all(calls: list[tuple[int, int]]) -> None:
    """A result's cost is that of its tokens, in however many calls they were used."""
    price = OwnPrice(**OWN)
    usages = [Usage(input_tokens=read, output_tokens=written) for read, written in calls]
    assert sum((price.cost_usd(usage) for usage in usages), Decimal(0)) == price.cost_usd(sum(usages, Usage()))


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"])
def test_the_bundled_price_of_gpt_4o_mini(model: str) -> None:
    """15, 7.5 and 60 cents a million tokens, as in the version of the list that is locked."""
    assert Prices().cost_usd(model_ref(model), MILLION) == Decimal("0.6") * Decimal("0.15") + Decimal("0.4") * Decimal(
        "0.075"
    ) + Decimal("0.6")


@pytest.mark.parametrize("model", ["no-such-model", "", "SmolLM2-135M-Instruct"])
def test_a_model_without_a_price_has_none(model: str) -> None:
    """None, and not 0: it is said once that its cost is unknown."""
    assert Prices().cost_usd(model_ref(model), MILLION) is None


@pytest.mark.parametrize(
    ("name", "is_priced"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", True),
        ("meta.llama3-1-8b-instruct-v1:0", True),
        ("claude-haiku-4-5-20251001", True),
        ("no.such-model-v1:0", False),
        ("llama3.1:8b", False),
        ("qwen2.5:7b-instruct", False),
        ("meta-llama/Llama-3.3-70B-Instruct", False),
    ],
)
def test_a_name_as_bedrock_writes_it_has_bedrocks_price(name: str, is_priced: bool) -> None:  # noqa: FBT001
    """Behind a gateway at an unknown address. Nobody else names models so, and other open models may be one's own."""
    rules = PriceRules(base_url="https://gateway.example.com/v1")
    assert (rules.cost_usd(name, MILLION) is not None) is is_priced


def test_ones_own_price_wins() -> None:
    """Over the bundled one of the same name. The others are as they were."""
    prices = Prices(own={"gpt-4o-mini": OwnPrice(**OWN), "mine": OwnPrice(**OWN)})
    assert prices.cost_usd(model_ref("gpt-4o-mini"), Usage(output_tokens=1_000_000)) == Decimal("0.6")
    assert prices.cost_usd(model_ref("mine"), MILLION) == Decimal("0.72")
    assert prices.cost_usd(model_ref("gpt-4o"), Usage()) == 0


@pytest.mark.parametrize(
    ("prices", "model"), [(FakePrices(), MODEL), (Prices(), "gpt-4o-mini"), (Prices(own={"m": OwnPrice(**OWN)}), "m")]
)
def test_the_contract_of_a_price_list(prices: PriceList, model: str) -> None:
    """The fake and the real one alike: exact decimals, nothing for nothing, more for more, None for the unknown."""
    assert prices.cost_usd(model_ref(model), Usage()) == 0
    one, two = (prices.cost_usd(model_ref(model), Usage(input_tokens=n, output_tokens=n)) for n in (1000, 2000))
    assert isinstance(one, Decimal)
    assert two == 2 * one > 0
    assert prices.cost_usd(model_ref("no-such-model"), MILLION) is None


def test_a_price_file(tmp_path: Path) -> None:
    """Numbers are taken as they are written, not as the nearest binary fraction."""
    path = tmp_path / "prices.yaml"
    path.write_text(
        "mine: {input_usd_per_million_tokens: 0.1, output_usd_per_million_tokens: '0.30'}\n"
        "4: {input_usd_per_million_tokens: 1, output_usd_per_million_tokens: 2, "
        "cached_input_usd_per_million_tokens: 0}\n"
    )
    prices = load_own_prices(path)
    assert prices == {
        "mine": OwnPrice(input_usd_per_million_tokens=Decimal("0.1"), output_usd_per_million_tokens=Decimal("0.3")),
        "4": OwnPrice(
            input_usd_per_million_tokens=Decimal(1),
            output_usd_per_million_tokens=Decimal(2),
            cached_input_usd_per_million_tokens=Decimal(0),
        ),
    }
    assert prices["mine"].cost_usd(Usage(input_tokens=3_000_000)) == Decimal("0.3")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must be a mapping of names to values"),
        ("- a", "must be a mapping of names to values"),
        ("mine: 3", "mine: must be a mapping of names to values"),
        ("mine: {}", "mine.input_usd_per_million_tokens: missing"),
        (
            "mine: {input_usd_per_million_tokens: -1, output_usd_per_million_tokens: 1}",
            "mine.input_usd_per_million_tokens: must be at least 0",
        ),
        (
            "mine: {input_usd_per_million_tokens: cheap, output_usd_per_million_tokens: 1}",
            "mine.input_usd_per_million_tokens: must be a number",
        ),
        (
            "mine: {input_usd_per_million_tokens: 'NaN', output_usd_per_million_tokens: 1}",
            "mine.input_usd_per_million_tokens: must be a finite number",
        ),
        (
            "mine: {input_usd_per_million_tokens: 1, output_usd_per_million_tokens: 1, currency: EUR}",
            "mine.currency: unknown field; known are: input_usd_per_million_tokens, output_usd_per_million_tokens, ",
        ),
        ("mine: [", "not YAML: "),
        ("mine: {input_usd_per_million_tokens: .inf}", "holds what JSON cannot: "),
    ],
)
def test_a_bad_price_file(tmp_path: Path, content: str, words: str) -> None:
    """A line for each problem, naming the file, the model and the field."""
    path = tmp_path / "prices.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_own_prices(path)
    assert without_place(caught.value.problems[0], path).startswith(words)
    assert not any("\n" in problem for problem in caught.value.problems)


def test_a_price_file_that_is_not_there(tmp_path: Path) -> None:
    """Its variable is named, for that is what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load_own_prices(tmp_path / "none.yaml")
    assert caught.value.problems == [
        f"DOCSLUICE_PRICES: cannot read {tmp_path / 'none.yaml'}: No such file or directory"
    ]


def test_rates_are_what_the_list_says() -> None:
    """Of every tenth model of the list, and of all whose price is no rate: the same to the last digit."""
    chance = random.Random(1)
    models = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
    is_rate = {one: pricing._rates(*one, 0) is not None for one in models[::10]}
    assert 0.5 * len(is_rate) < sum(is_rate.values()) < len(is_rate)
    for provider, model in is_rate:
        for input_tokens in (0, 1, 30_011, 128_001, 272_001):
            usage = Usage(
                input_tokens=input_tokens,
                cached_tokens=chance.randint(0, input_tokens),
                output_tokens=chance.choice([0, 1, 777]),
            )
            assert pricing._price(provider, model, usage) == pricing._listed_price(provider, model, usage)
