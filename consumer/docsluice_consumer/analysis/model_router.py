"""Chooses the model of a chain: the first that is well and large enough for the document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.analysis.rejections import rejected
from docsluice_consumer.llm.chat import ChatRequest
from docsluice_consumer.llm.token_estimator import USUAL_BYTES_PER_TOKEN, TokenEstimator
from docsluice_consumer.model_ref import ModelRef

_BYTES_A_TOKEN_OF_A_PART = 3
"""Most texts fit with this rate: English has four bytes a token or more, code and most other languages about three."""
_ROOM_FOR_AN_ANSWER_TOKENS = 256


class ModelRouter:
    """Knows the models' context sizes, and asks admission which of them are well."""

    def __init__(
        self,
        *,
        admission: Admission,
        estimator: TokenEstimator,
        context_tokens: Mapping[ModelRef, int] | None = None,
    ) -> None:
        self._admission = admission
        self._estimator = estimator
        self._context_tokens = context_tokens or {}

    def choose(self, request: ChatRequest, models: Sequence[ModelRef]) -> tuple[ChatRequest, Sequence[ModelRef]]:
        """Return the request to the first of `models` that is well and large enough, and the alternatives.

        If none is well, it is the first that is large enough. If none is likely to be large enough, it is one that may
        be. Only the provider knows.

        Raises:
            RecordRejected: the document is surely too large for all of them.
        """
        requests = {model: request.to(model) for model in models}
        problems = {model: self._why_it_does_not_fit(requests[model]) for model in models}
        fitting = [model for model, problem in problems.items() if problem is None]
        if not fitting:
            problem = next(iter(problems.values()))
            raise rejected(DeadLetterReason.TOO_LARGE, f"one call {problem}", request, cause=problem)
        fitting = [model for model in fitting if self.likely_fits(requests[model])] or fitting
        well = [model for model in fitting if self._admission.would_take(model)]
        chosen = (well or fitting)[0]
        return requests[chosen], [model for model in fitting if model != chosen]

    def room_bytes(self, request: ChatRequest) -> int | None:
        """How many bytes of input the roomiest model of the chain takes in such a call. None if no limit is known.

        It uses fixed figures, so a document is always cut in the same places.
        """
        output_tokens = request.sampling.max_output_tokens or _ROOM_FOR_AN_ANSWER_TOKENS
        most = self._most_input_tokens(request, output_tokens=output_tokens)
        return None if most == math.inf else max(0, int(most * _BYTES_A_TOKEN_OF_A_PART))

    def likely_fits(self, request: ChatRequest) -> bool:
        """Whether some model of the chain has room for it, if its text is like most. It uses fixed figures too.

        A part that was cut to `room_bytes` fits, so nothing is cut twice.
        """
        bound = request.sampling.max_output_tokens or _ROOM_FOR_AN_ANSWER_TOKENS
        most = self._most_input_tokens(request, output_tokens=min(bound, _ROOM_FOR_AN_ANSWER_TOKENS))
        return request.input_bytes <= most * USUAL_BYTES_PER_TOKEN

    def _most_input_tokens(self, request: ChatRequest, *, output_tokens: int) -> float:
        def of(model: ModelRef) -> float:
            limit = self._admission.most_input_tokens(model, output_tokens=output_tokens)
            return min(limit, self._context_tokens.get(model, math.inf) - output_tokens)

        return max(of(model) for model in request.models)

    def _why_it_does_not_fit(self, request: ChatRequest) -> str | None:
        """Why a model can certainly never take it. None if it may."""
        context, least = self._context_tokens.get(request.model), self._estimator.surely(request)
        tokens = least.input_tokens + least.output_tokens
        if context is not None and tokens > context:
            return f"needs at least {tokens} tokens, and {request.model} has a context of {context}"
        return self._admission.fits(CallRequest(model=request.model, usage=least))
