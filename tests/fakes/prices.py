"""A price list that is easy to reckon with."""

from __future__ import annotations

from decimal import Decimal

from consumer.contracts import Usage

MODEL = "some-model"


class FakePrices:
    """A `PriceList`: for `MODEL` a millionth of a dollar an input token and ten an output token; no other price."""

    def cost_usd(self, model: str, usage: Usage) -> Decimal | None:
        if model != MODEL:
            return None
        return Decimal(usage.input_tokens + 10 * usage.output_tokens) / Decimal(1_000_000)
