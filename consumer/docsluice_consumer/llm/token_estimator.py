"""Estimates the tokens of a call, and learns from the usage that the provider reports. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from docsluice.messages import Usage
from docsluice_consumer.llm.chat import ChatRequest
from docsluice_consumer.model_ref import ModelRef

USUAL_BYTES_PER_TOKEN = 4.0
_OUTPUT_TOKENS = 256
_LEARNING_RATE = 0.1
_LEAST_BYTES_PER_TOKEN, _MOST_BYTES_PER_TOKEN = 0.5, 16.0
"""No text is outside these bounds, whatever a provider counts."""
_MOST_OUTPUT_TOKENS = 100_000
_REMEMBERED_OUTPUTS = 200
_PERCENTILE = 0.9


@dataclass(slots=True)
class _Outputs:
    """The latest output sizes of one step, and the percentile that the next call is expected to stay under."""

    seen: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_OUTPUTS))
    expected: int | None = None

    def learn(self, tokens: int) -> None:
        self.seen.append(tokens)
        ordered = sorted(self.seen)
        self.expected = ordered[min(len(ordered) - 1, int(len(ordered) * _PERCENTILE))]


class TokenEstimator:
    """Bytes a token, learned for each model, and expected output, learned for each step.

    The bound on output is no estimate: reserving it would leave most of a quota unused.
    """

    def __init__(self) -> None:
        self._bytes_per_token: dict[ModelRef, float] = {}
        self._outputs: dict[tuple[str, ModelRef], _Outputs] = {}
        self._thoughts: dict[tuple[str, ModelRef], _Outputs] = {}
        """The same for thinking, which no answer shows and every provider counts."""

    def estimate(self, request: ChatRequest) -> Usage:
        """Expected tokens of one call."""
        ratio = self._bytes_per_token.get(request.model, USUAL_BYTES_PER_TOKEN)
        outputs = self._outputs.get((request.step, request.model))
        thoughts = self._thoughts.get((request.step, request.model))
        expected = outputs.expected if outputs and outputs.expected is not None else _OUTPUT_TOKENS
        return Usage(
            input_tokens=max(1, round(request.input_bytes / ratio)),
            # Some servers bound the answer alone, and their thinking exceeds it.
            output_tokens=max(1, min(expected, _bound(request)) + (thoughts.expected or 0 if thoughts else 0)),
        )

    def surely(self, request: ChatRequest) -> Usage:
        """The certain minimum of one call, whatever its text is like. Earlier texts say nothing about that."""
        return Usage(input_tokens=max(1, int(request.input_bytes / _MOST_BYTES_PER_TOKEN)), output_tokens=1)

    def least(self, request: ChatRequest) -> Usage:
        """The estimate without unknown parts: before a step's first answer its output counts as 0."""
        estimate = self.estimate(request)
        outputs = self._outputs.get((request.step, request.model))
        return estimate if outputs else Usage(input_tokens=estimate.input_tokens)

    def of_answer(self, request: ChatRequest, text: str) -> Usage:
        """The usage of a call without reported usage: its bytes, at the model's bytes-per-token ratio."""
        ratio = self._bytes_per_token.get(request.model, USUAL_BYTES_PER_TOKEN)
        return Usage(
            input_tokens=max(1, round(request.input_bytes / ratio)),
            output_tokens=max(1, round(len(text.encode()) / ratio)),
        )

    def learn(self, request: ChatRequest, usage: Usage) -> None:
        """Learn from the provider's own count of a call."""
        if usage.input_tokens > 0:
            seen = request.input_bytes / usage.input_tokens
            seen = min(max(seen, _LEAST_BYTES_PER_TOKEN), _MOST_BYTES_PER_TOKEN)
            known = self._bytes_per_token.get(request.model, seen)
            self._bytes_per_token[request.model] = known + _LEARNING_RATE * (seen - known)
        outputs = self._outputs.setdefault((request.step, request.model), _Outputs())
        outputs.learn(min(usage.output_tokens - usage.reasoning_tokens, _bound(request)))
        if usage.reasoning_tokens or (request.step, request.model) in self._thoughts:
            self._thoughts.setdefault((request.step, request.model), _Outputs()).learn(usage.reasoning_tokens)


def _bound(request: ChatRequest) -> int:
    """The most tokens of an answer, whatever the provider counts."""
    return request.sampling.max_output_tokens or _MOST_OUTPUT_TOKENS
