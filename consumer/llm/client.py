"""The model behind the OpenAI SDK: any server that speaks chat completions."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import openai
from openai.types.chat import ChatCompletion

from consumer.contracts import Usage
from consumer.errors import AttemptFailed, DocsluiceError, ProviderUnavailable
from consumer.llm import error_mapping
from consumer.llm.answer_size import bound_answer
from consumer.llm.chat import Answer, ChatRequest, Message
from consumer.llm.error_body import ProviderError, read_error
from consumer.llm.error_mapping import Call
from consumer.llm.quoted import Quoted
from consumer.llm.rate_headers import SaidLimits

StructuredOutputs: TypeAlias = Literal["json_schema", "json_object", "none"]
_WEAKER: dict[StructuredOutputs, StructuredOutputs] = {"json_schema": "json_object", "json_object": "none"}
_MOST_TOKENS = 10_000_000
"""More than any call takes: a server that says otherwise must not spoil the sums, nor the limits."""
_NO_KEY = "none"  # the SDK insists on a key; servers such as Ollama, vLLM and llama.cpp want none


class OpenAIChatClient:
    """Asks over the SDK's aiohttp transport, which costs a third less CPU a call than its default one.

    The SDK's own retries are off, since admission must see every attempt. What a server turns out not to know
    (structured outputs, the newer name of the output bound) is remembered and left out from then on.
    """

    def __init__(
        self, *, api_key: str | None, base_url: str | None, request_timeout_seconds: float, max_connections: int
    ) -> None:
        self._request_timeout_seconds = request_timeout_seconds
        self._secrets = (api_key,) if api_key else ()
        self._sdk = openai.AsyncOpenAI(
            api_key=api_key or _NO_KEY,
            base_url=base_url,
            max_retries=0,
            timeout=openai.Timeout(request_timeout_seconds, connect=min(10.0, request_timeout_seconds)),
            http_client=openai.DefaultAioHttpClient(
                follow_redirects=False,  # or the documents would go wherever a server points to
                headers={"Accept-Encoding": "identity"},
                event_hooks={"response": [bound_answer]},
                limits=openai.DEFAULT_CONNECTION_LIMITS.__class__(
                    max_connections=max_connections, max_keepalive_connections=max_connections
                ),
            ),
        )
        self._structured_outputs: StructuredOutputs = "json_schema"
        self._output_bound = "max_completion_tokens" if "api.openai.com" in str(self._sdk.base_url) else "max_tokens"
        self._output_bound_was_switched = False
        self._knows_service_tiers = True
        self._said_limits = SaidLimits()

    async def ask(self, request: ChatRequest) -> Answer:
        """Put one request. See `ChatClient.ask` for the errors."""
        while True:
            known = self._known()
            call = self._call(request)
            with self._translated(call):
                try:
                    async with asyncio.timeout(self._request_timeout_seconds):
                        return await self._create(request)
                except openai.BadRequestError as error:
                    # Another call may have learned it while this one was under way: then only try again.
                    if known == self._known() and not self._learn_from(_said(error, call)):
                        raise

    async def probe(self) -> list[str]:
        """List the models that the server offers. See `ChatClient.ask` for the errors."""
        with self._translated(Call(step="check", model="", secrets=self._secrets)):
            return [model.id async for model in self._sdk.models.list()]

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def _create(self, request: ChatRequest) -> Answer:
        sampling = request.sampling
        parameters: dict[str, Any] = {
            self._output_bound: sampling.max_output_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "frequency_penalty": sampling.frequency_penalty,
            "presence_penalty": sampling.presence_penalty,
            "response_format": self._response_format(request),
            "service_tier": request.service_tier if self._knows_service_tiers else None,
        }
        response = await self._sdk.chat.completions.with_raw_response.create(
            model=request.model,
            messages=[{"role": turn.role, "content": turn.content} for turn in self._turns(request)],  # type: ignore[misc]
            **{name: value for name, value in parameters.items() if value is not None},
        )
        return _answer(response.parse(), limits=self._said_limits.read(response.headers))

    def _response_format(self, request: ChatRequest) -> dict[str, Any] | None:
        match self._structured_outputs:
            case "json_schema":
                named = {"name": request.step, "strict": True, "schema": request.schema}
                return {"type": "json_schema", "json_schema": named}
            case "json_object":
                return {"type": "json_object"}
            case _:
                return None

    def _turns(self, request: ChatRequest) -> tuple[Message, ...]:
        """Where the server cannot enforce the schema, the system message spells it out."""
        if self._structured_outputs == "json_schema":
            return request.messages
        system, *others = request.messages
        schema = json.dumps(request.schema, ensure_ascii=False)
        spelt_out = f"{system.content}\nIt must meet this JSON schema, with nothing before or after it: {schema}"
        return (Message(system.role, spelt_out), *others)

    def _known(self) -> tuple[object, ...]:
        """What is known of the server."""
        return (self._structured_outputs, self._output_bound, self._knows_service_tiers)

    def _learn_from(self, error: ProviderError) -> bool:
        """Whether this 400 taught us something about the server that makes another try worth while."""
        if self._structured_outputs in _WEAKER and _complains_about(error, "response_format", "json_schema"):
            self._structured_outputs = _WEAKER[self._structured_outputs]
            return True
        if self._knows_service_tiers and _complains_about(error, "service_tier"):
            self._knows_service_tiers = False
            return True
        # Once only: a server may also complain of its size, and then it does so under either name.
        if not self._output_bound_was_switched and _complains_about(error, self._output_bound):
            self._output_bound_was_switched = True
            other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
            self._output_bound = other[self._output_bound]
            return True
        return False

    def _call(self, request: ChatRequest) -> Call:
        quoted = Quoted(turn.content for turn in request.messages)
        return Call(step=request.step, model=request.model, quoted=quoted, secrets=self._secrets)

    @contextlib.contextmanager
    def _translated(self, call: Call) -> Iterator[None]:
        try:
            yield
        except DocsluiceError:
            raise
        except error_mapping.FOREIGN as error:
            fault = error_mapping.translate(error, call, now=datetime.now(UTC))
            if isinstance(error, openai.APIStatusError) and isinstance(fault, AttemptFailed):
                fault.limits = self._said_limits.read(error.response.headers)
            # Without its cause: the SDK's message may echo the key, and a dead letter carries the stack trace.
            raise fault from None
        except Exception as error:  # noqa: BLE001 - what nobody has foreseen is the provider's too, never a document's
            raise ProviderUnavailable(f"the call failed in an unforeseen way ({type(error).__name__})") from None


def _said(error: openai.APIStatusError, call: Call) -> ProviderError:
    return read_error(error.status_code, error.response.content, quoted=call.quoted, secrets=call.secrets)


def _complains_about(error: ProviderError, *names: str) -> bool:
    return any(name in (error.param or error.words) for name in names)


def _answer(completion: ChatCompletion, *, limits: Mapping[str, float]) -> Answer:
    """Read defensively: a server that is merely like OpenAI's may leave out anything."""
    choices = getattr(completion, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(choice, "message", None)
    if message is None:
        raise ProviderUnavailable("the provider's answer holds no message")
    content = getattr(message, "content", None)
    return Answer(
        # Half an emoji, which a model may well say, could not be sent back to it.
        text=content.encode("utf-8", errors="replace").decode() if isinstance(content, str) else "",
        finish_reason=getattr(choice, "finish_reason", None) or "stop",
        refusal=getattr(message, "refusal", None),
        usage=_usage(completion),
        limits=limits,
    )


def _usage(completion: ChatCompletion) -> Usage | None:
    said = getattr(completion, "usage", None)
    if not isinstance(getattr(said, "prompt_tokens", None), int):
        return None
    read, written = _count(said, "prompt_tokens"), _count(said, "completion_tokens")
    cached = _count(getattr(said, "prompt_tokens_details", None), "cached_tokens")
    return Usage(input_tokens=read, output_tokens=written, cached_tokens=min(cached, read))


def _count(said: Any, name: str) -> int:
    number = getattr(said, name, None)
    return min(max(0, number), _MOST_TOKENS) if isinstance(number, int) else 0
