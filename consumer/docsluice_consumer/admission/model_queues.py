"""The queues of all models, and every limit a minute. Time is passed in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from docsluice_consumer.admission.limits import Limits, MinuteLimits
from docsluice_consumer.admission.model_queue import ModelQueue, learned_quotas
from docsluice_consumer.admission.quota import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, TOKENS, Quota
from docsluice_consumer.model_ref import DEFAULT_PROVIDER, ModelRef


class ModelQueues:
    """A queue for each model that was called.

    Models without limits of their own share the quotas of their provider's account.
    """

    def __init__(self, *, limits: Limits, now: float) -> None:
        self._limits = limits
        self._accounts = {DEFAULT_PROVIDER: _quotas(limits, whose="account", now=now)}
        for provider, of_one in limits.by_provider.items():
            self._accounts[provider] = _quotas(of_one, whose=f"provider/{provider}", now=now)
        self._queues: dict[ModelRef, ModelQueue] = {}
        self._share = 1.0
        self._is_shared = False

    def __iter__(self) -> Iterator[ModelQueue]:
        return iter(self._queues.values())

    def of(self, model: ModelRef, *, now: float) -> ModelQueue:
        """A model's queue."""
        if model not in self._queues:
            own = self._limits.by_model.get(model)
            account = self._accounts.get(model.provider, ())
            queue = ModelQueue(
                model=model,
                shared=account if own is None else _quotas(own, whose=f"model/{model}", now=now),
                learned=learned_quotas(model=model, now=now),
            )
            for quota in queue.quotas:
                quota.set_share(self._share, now=now)
                quota.set_shared(self._is_shared, now=now)
            self._queues[model] = queue
        return self._queues[model]

    def quotas(self) -> Iterable[Quota]:
        """All quotas, each once."""
        accounts = [quota for account in self._accounts.values() for quota in account]
        return dict.fromkeys([*accounts, *(quota for queue in self for quota in queue.quotas)])

    def calls_per_minute(self, sizes: Mapping[str, float], *, now: float) -> float:
        """How many calls a minute of these sizes all limits let pass. Infinite without limits.

        Each limit counts by the part of the calls that it holds for.
        """
        let_out = sum(queue.let_out for queue in self)
        least = math.inf
        for quota in self.quotas():
            drawn = sum(queue.let_out for queue in self if quota in queue.quotas)
            size = sizes[quota.name] * (drawn / let_out if let_out else 1.0)
            limit = quota.for_all(now=now)
            if limit is not None and size:
                least = min(least, limit / size)
        return least

    def set_share(self, share: float, *, now: float) -> None:
        """See `Quota.set_share`."""
        self._share = share
        for quota in self.quotas():
            quota.set_share(share, now=now)

    def set_shared(self, is_shared: bool, *, now: float) -> None:  # noqa: FBT001 - it is the whole message
        """See `Quota.set_shared`."""
        self._is_shared = is_shared
        for quota in self.quotas():
            quota.set_shared(is_shared, now=now)


def _quotas(limits: MinuteLimits, *, whose: str, now: float) -> Sequence[Quota]:
    per_minute: Mapping[str, float | None] = {
        REQUESTS: limits.requests_per_minute,
        TOKENS: limits.tokens_per_minute,
        INPUT_TOKENS: limits.input_tokens_per_minute,
        OUTPUT_TOKENS: limits.output_tokens_per_minute,
    }
    return [
        Quota(name=name, configured=limit, key=f"{name}/{whose}", now=now)
        for name, limit in per_minute.items()
        if limit is not None
    ]
