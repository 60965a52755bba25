"""Tokens and dollars of each call, counted for the document, the metrics and the budget."""

from __future__ import annotations

from decimal import Decimal

import structlog

from docsluice.messages import Usage
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import AttemptFailed, DocsluiceError, RecordRejected
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.llm.pricing import PriceList, cost_of_call
from docsluice_consumer.llm.token_estimator import TokenEstimator
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class CallAccounting:
    """Counts each call, whatever its end, before anything else happens with it."""

    def __init__(self, *, prices: PriceList, estimator: TokenEstimator, metrics: Metrics) -> None:
        self._prices = prices
        self._estimator = estimator
        self._metrics = metrics
        self._said: set[tuple[str, ModelRef]] = set()

    def expected_cost_usd(self, model: ModelRef, usage: Usage) -> Decimal:
        """The expected cost of a call in US dollars. 0 if the model has no known price."""
        return self._prices.cost_usd(model, usage) or Decimal(0)

    def answered(self, request: ChatRequest, answer: Answer, *, outcome: str, document_usage: DocumentUsage) -> Decimal:
        """Count an answered call, and return its cost in US dollars. Missing usage is estimated."""
        usage = answer.usage
        if usage is None:
            usage = self._estimator.of_answer(request, answer.text)
            self._say_once(
                "usage.unknown", request.model, "the provider reports no usage; tokens and cost are estimated"
            )
        cost = self._cost_usd(request.model, usage, answer.stated_cost_usd)
        document_usage.count_call(usage=usage, cost_usd=cost)
        self._metrics.call_finished(
            task=request.step, model=request.model, outcome=outcome, usage=usage, cost_usd=float(cost)
        )
        return cost

    def failed(self, request: ChatRequest, fault: DocsluiceError, document_usage: DocumentUsage) -> Decimal:
        """Count a call without an answer, and return its cost in US dollars as far as the provider has told."""
        outcome = fault.outcome if isinstance(fault, AttemptFailed) else type(fault).__name__
        if isinstance(fault, RecordRejected):
            outcome = fault.reason.value
        usage, cost = self._told(request.model, fault)
        document_usage.count_call(usage=usage or Usage(), cost_usd=cost)
        document_usage.note_failure()
        self._metrics.call_finished(
            task=request.step, model=request.model, outcome=outcome, usage=usage, cost_usd=float(cost)
        )
        return cost

    def _told(self, model: ModelRef, fault: DocsluiceError) -> tuple[Usage | None, Decimal]:
        """The tokens and cost of a failed call that the provider has told. None and 0 if it has told nothing."""
        if not isinstance(fault, AttemptFailed | RecordRejected) or (
            fault.usage is None and fault.stated_cost_usd is None
        ):
            return None, Decimal(0)
        usage = fault.usage or Usage()
        return usage, self._cost_usd(model, usage, fault.stated_cost_usd)

    def _cost_usd(self, model: ModelRef, usage: Usage, stated: Decimal | None) -> Decimal:
        """The cost of a call in US dollars. 0 if it is unknown, which is logged once."""
        cost = cost_of_call(self._prices, model, usage, stated=stated)
        if cost is None:
            self._say_once(
                "price.unknown", model, "its calls are counted as free, and no budget holds them; see DOCSLUICE_PRICES"
            )
        return cost or Decimal(0)

    def _say_once(self, event: str, model: ModelRef, remedy: str) -> None:
        if (event, model) not in self._said:
            self._said.add((event, model))
            log.warning(event, model=str(model), remedy=remedy)
