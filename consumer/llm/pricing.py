"""What a call costs: the bundled `genai-prices`, with a file of one's own prices on top. Always `Decimal`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeAlias

import genai_prices
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from consumer.contracts import Usage
from consumer.llm.yaml_file import load_yaml, unfit

_MILLION = Decimal(1_000_000)


class PriceList(Protocol):
    """Knows what tokens cost."""

    def cost_usd(self, model: str, usage: Usage) -> Decimal | None:
        """US dollars, or None when the model has no known price."""
        ...


class OwnPrice(BaseModel):
    """A model's price in US dollars for a million tokens. Cached input costs as much as other input unless said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_usd_per_million_tokens: Decimal = Field(ge=0)
    output_usd_per_million_tokens: Decimal = Field(ge=0)
    cached_input_usd_per_million_tokens: Decimal | None = Field(default=None, ge=0)

    def cost_usd(self, usage: Usage) -> Decimal:
        """Price the tokens of one call."""
        cached_price = self.cached_input_usd_per_million_tokens
        if cached_price is None:
            cached_price = self.input_usd_per_million_tokens
        total = (
            (usage.input_tokens - usage.cached_tokens) * self.input_usd_per_million_tokens
            + usage.cached_tokens * cached_price
            + usage.output_tokens * self.output_usd_per_million_tokens
        )
        return total / _MILLION


_OwnPrices: TypeAlias = dict[str, OwnPrice]


class Prices:
    """One's own prices first, then the bundled list. Source of the list: the package genai-prices, offline."""

    def __init__(self, *, own: Mapping[str, OwnPrice] | None = None) -> None:
        self._own = dict(own or {})

    def cost_usd(self, model: str, usage: Usage) -> Decimal | None:
        """US dollars, or None when the model has no known price."""
        if model in self._own:
            return self._own[model].cost_usd(usage)
        priced = genai_prices.Usage(
            input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_tokens, output_tokens=usage.output_tokens
        )
        try:
            return genai_prices.calc_price(priced, model).total_price
        except LookupError:
            return None


def load_own_prices(path: Path) -> dict[str, OwnPrice]:
    """Read a YAML file of `model: {input_usd_per_million_tokens: …, output_usd_per_million_tokens: …}`.

    Raises:
        ConfigurationError: a sentence for each problem.
    """
    fields = load_yaml(path, name=str(path), variable="DOCSLUICE_PRICES")
    try:
        return TypeAdapter(_OwnPrices).validate_python(fields)
    except ValidationError as error:
        raise unfit(error, name=str(path), expected=_OwnPrices) from error
