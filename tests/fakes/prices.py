"""A price list that is easy to reckon with."""

from __future__ import annotations

from decimal import Decimal

from docsluice.messages import Usage
from docsluice_consumer.model_ref import ModelRef, model_ref

MODEL = "some-model"
MODEL_REF = model_ref(MODEL)


class FakePrices:
    """A `PriceList`: for `MODEL` a millionth of a dollar an input token and ten an output token. No other price."""

    def cost_usd(self, model: ModelRef, usage: Usage) -> Decimal | None:
        if model != MODEL_REF:
            return None
        return Decimal(usage.input_tokens + 10 * usage.output_tokens) / Decimal(1_000_000)

    def has_own(self, model: ModelRef) -> bool:
        return model == MODEL_REF
