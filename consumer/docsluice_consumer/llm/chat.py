"""A chat request and its answer, free of any SDK."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

from docsluice.messages import Usage
from docsluice_consumer.model_ref import ModelRef


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Generation parameters. None leaves the provider's default."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParameters:
    """Parameters that one model gets with every call, unless the task sets its own."""

    reasoning_effort: str | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One call: the turns, and the JSON schema (an object) that the answer must meet.

    `model` is the first choice. `fallbacks` are asked in this order if it fails or is too small. `extra_body` holds
    further fields of the body, passed through as they are. `strict`: the schema is fit for strict mode. `by_model` are
    parameters that single models of the chain get.
    """

    step: str
    model: ModelRef
    messages: tuple[Message, ...]
    schema: dict[str, Any]
    sampling: Sampling
    fallbacks: tuple[ModelRef, ...] = ()
    service_tier: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = True
    by_model: Mapping[ModelRef, ModelParameters] = field(default_factory=dict)
    is_roomier: bool = False
    """Whether its bound on the answer is larger than the task's own, as a remedy for an answer that was cut."""

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The chain, first choice first."""
        return (self.model, *self.fallbacks)

    def to(self, model: ModelRef) -> ChatRequest:
        """The same request, to this model alone, with this model's parameters."""
        own, sampling = self.by_model.get(model), self.sampling
        if own is None:
            return self if self.models == (model,) else replace(self, model=model, fallbacks=())
        return replace(
            self,
            model=model,
            fallbacks=(),
            sampling=replace(
                sampling,
                reasoning_effort=sampling.reasoning_effort or own.reasoning_effort,
                seed=own.seed if sampling.seed is None else sampling.seed,
                stop=sampling.stop or own.stop,
            ),
            extra_body={**own.extra_body, **self.extra_body},
        )

    def without(self, model: ModelRef | None) -> ChatRequest | None:
        """The same request to the other models of the chain. None if there is no other."""
        others = tuple(other for other in self.models if other != model)
        if not others or others == self.models:
            return None
        return replace(self, model=others[0], fallbacks=others[1:])

    def about(self, text: str) -> ChatRequest:
        """The same request about another document."""
        return replace(self, messages=(*self.messages[:-1], Message("user", text)))

    def roomier(self, times: int) -> ChatRequest | None:
        """The same request, with `times` the room for its answer. None if we set no bound."""
        bound = self.sampling.max_output_tokens
        if bound is None:
            return None
        return replace(self, sampling=replace(self.sampling, max_output_tokens=bound * times), is_roomier=True)

    @functools.cached_property
    def input_bytes(self) -> int:
        """UTF-8 size of what the model will read, from which tokens are estimated."""
        return sum(len(message.content.encode()) for message in self.messages)

    def and_then(self, *messages: Message) -> ChatRequest:
        """The same request with further turns."""
        return replace(self, messages=(*self.messages, *messages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said. `usage` is None from a server that reports none.

    `limits` are the provider's limits a minute, as far as it named them: `requests`, `tokens`, `input_tokens`,
    `output_tokens`. `stated_cost_usd` is the provider's own cost of the call. `model` is the model that answered,
    filled in by the caller.
    """

    text: str
    finish_reason: str
    refusal: str | None
    usage: Usage | None
    limits: Mapping[str, float] = field(default_factory=dict)
    stated_cost_usd: Decimal | None = None
    model: ModelRef | None = None


class ChatClient(Protocol):
    """Makes one call to a model, without retries."""

    async def ask(self, request: ChatRequest) -> Answer:
        """Return the model's answer.

        Raises:
            AttemptFailed: the call may be retried.
            CallRefused: one of these attempts. It may be about this document alone, or about all calls.
            RecordRejected: the provider will never take this request.
            ServiceFault: the client cannot work as configured.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
