"""Limits of the whole account, and of each model that has its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from docsluice.messages import Usage
from docsluice_consumer.model_ref import ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteLimits:
    """What the provider allows a minute. None means no limit is known.

    `tokens_per_minute` counts input and output together.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(MinuteLimits):
    """The limits of each account, shared by all models of that provider that `by_model` does not name.

    Its own fields are those of the default provider's account. `by_provider` has the others. `max_concurrency` counts
    the calls of all models. With `min_concurrency` below it, the best number between is found.
    """

    max_concurrency: int
    min_concurrency: int | None = None
    by_model: Mapping[ModelRef, MinuteLimits] = field(default_factory=dict)
    by_provider: Mapping[str, MinuteLimits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A call that wants to go out.

    `usage` and `cost_usd` are estimates. `output_bound` is the most tokens that the answer may have, if that is set.
    `alternatives` are models to ask instead of one that fails. `place` comes from `take_place`: a document's later
    calls keep the place of its first one. So work that has begun is finished before more is begun.
    """

    model: ModelRef
    usage: Usage
    output_bound: int | None = None
    cost_usd: Decimal = Decimal(0)
    alternatives: tuple[ModelRef, ...] = ()
    place: int | None = None
