"""The model behind the OpenAI SDK: any server that speaks chat completions."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import httpx2
import openai
import structlog
from pydantic_core import to_json

from docsluice.messages import DeadLetterReason, Usage
from docsluice.text.redaction import redaction_of
from docsluice.validation.json_values import NO_JSON, json_value
from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    DocsluiceError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RecordRejected,
)
from docsluice_consumer.llm import completion
from docsluice_consumer.llm.capabilities import Capabilities, Discovery, Sent, complaint
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.llm.error_body import ProviderError, read_error
from docsluice_consumer.llm.error_mapping import FOREIGN, Call, fault_of, out_of_files, translate
from docsluice_consumer.llm.error_meaning import meaning_of
from docsluice_consumer.llm.error_table import Meaning
from docsluice_consumer.llm.finish_reasons import ERROR
from docsluice_consumer.llm.guesses import Guesses
from docsluice_consumer.llm.provider import Provider, address_of
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.llm.rate_limit_headers import ReportedLimits
from docsluice_consumer.llm.request_body import body_of, offered, sent_by
from docsluice_consumer.llm.transport import Connections, RepeatingClient, http_client
from docsluice_consumer.llm.usage import stated_cost_usd, usage_of
from docsluice_consumer.llm.worker_thread import in_worker_thread

log = structlog.get_logger(__name__)

_F = TypeVar("_F", bound=AttemptFailed | RecordRejected)
OnBody: TypeAlias = Callable[[Mapping[str, Any]], object]

_MOST_TRIES = 16
"""Tries of one call. A server complains about one thing at a time."""
_UNAUTHORIZED = 401
_SHORTEST_SECRET = 8
"""Configured headers may hold secrets. A shorter value is none, and cutting it out would spoil the words."""
_SHORTEST_KEY = 12
"""A shorter key is a placeholder for an own server, such as `ollama`, which an answer may well contain."""
_SHOWN_CHARACTERS = 64 * 1024
"""How much is shown of a body that is no completion and holds a secret."""
_NO_LIST = frozenset({404, 405, 501})
_NO_KEY = "none"  # the SDK insists on a key. Servers such as Ollama, vLLM and llama.cpp want none
_OPENAI = "api.openai.com"
_TOKEN_OF_AN_IDENTITY = "eyJ"  # noqa: S105 - how a token of Microsoft Entra begins, which no API key does


def unwatched(body: Mapping[str, Any]) -> None:
    """Watch no body."""


class _Refused(Exception):
    """An error of the provider, by its status or inside a 200."""

    def __init__(self, said: ProviderError, headers: Mapping[str, str], *, body: Any = None) -> None:
        super().__init__(str(said))
        self.said = said
        self.headers = headers
        self.body = body
        """The body of a 200, which may have been paid for."""


@dataclass(frozen=True, slots=True)
class _BuiltRequest:
    """A request as the SDK has built it, and the key that it holds."""

    key: str | None
    request: httpx2.Request


class OpenAIChatClient:
    """Calls one provider.

    The SDK's own retries are off, because admission must see every attempt. What a model turns out not to know is left
    out from then on. A refused key is looked up again, and the call is made once more. Its connections, up to
    `max_connections`, are its own unless it is given shared ones. `on_body` is told the body of every request.
    """

    def __init__(
        self,
        *,
        provider: Provider,
        max_connections: int,
        connections: Connections | None = None,
        on_body: OnBody = unwatched,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._on_body = on_body
        self._address = address_of(provider.base_url, azure_api_version=provider.azure_api_version)
        self._now = now
        self._capabilities = Capabilities()
        self._said_limits = ReportedLimits()
        self._keys: dict[str, None] = {}
        self._own_connections = Connections(most=max_connections)
        self._http = http_client(connections or self._own_connections)
        self._sdk = self._sdk_of(provider, self._http)
        self._built: dict[str, _BuiltRequest] = {}
        newer_first = _OPENAI in str(self._sdk.base_url) or self._address.is_classic_azure
        names = ("max_completion_tokens", "max_tokens")
        self._bounds = names if newer_first else names[::-1]

    async def ask(self, request: ChatRequest) -> Answer:
        """Make one call. See `ChatClient.ask` for the errors."""
        with self._translated(request):
            guesses = self._guesses(request)
            for _ in range(_MOST_TRIES):
                without = guesses.without
                body = body_of(request, without=without, bounds=self._bounds)
                self._on_body(body)
                try:
                    answer = await self._answered(request, body)
                except _Refused as refused:
                    sent = sent_by(request, body, without=without)
                    if guesses.refused(refused.said, sent):
                        continue
                    raise self._fault(refused, request, sent) from None
                self._note(guesses.answered(now=self._now()), request)
                return answer
        raise ProviderUnavailable("the provider complains of something else in the request each time")

    async def probe(self) -> list[str]:
        """List the models that the server offers. Empty if it has no list. See `ChatClient.ask` for the errors."""
        with self._translated(None):
            try:
                response = await self._sent(self._address.models, None, None)
            except _Refused as refused:
                if refused.said.status in _NO_LIST and meaning_of(refused.said) is None:
                    return []
                raise self._fault(refused, None, None) from None
        try:
            body = json_value(response.content)
        except ValueError:
            body = NO_JSON
        listed = body.get("data") if isinstance(body, Mapping) else body
        if not isinstance(listed, list):
            raise await self._unreadable(response, body, None)
        return [str(model["id"]) for model in listed if isinstance(model, Mapping) and model.get("id")]

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()
        await self._own_connections.close()

    def _sdk_of(self, provider: Provider, http: RepeatingClient) -> openai.AsyncOpenAI:
        timeout = provider.request_timeout_seconds
        try:
            return openai.AsyncOpenAI(
                api_key=_NO_KEY,
                base_url=self._address.base_url,
                default_query=dict(self._address.query),
                default_headers=dict(provider.headers),
                max_retries=0,
                timeout=openai.Timeout(timeout, connect=min(10.0, timeout)),
                http_client=http,
            )
        except (openai.OpenAIError, ValueError, httpx2.InvalidURL) as error:
            where = f"{provider.address_setting}; HTTPS_PROXY"
            raise ProviderMisconfigured(
                f"no client can be built for the provider ({where}): {type(error).__name__}"
            ) from None

    def _guesses(self, request: ChatRequest) -> Guesses:
        """The guesses of a call. Its first try may check whether something learned still holds."""
        model, step = request.model.name, request.step
        tries = self._capabilities.to_try(lambda: offered(request), model=model, step=step, now=self._now())
        return Guesses(self._capabilities, model=model, step=step, tries=tries)

    def _note(self, learned: list[Discovery], request: ChatRequest) -> None:
        for discovery in learned:
            log.warning(
                "provider.capability_learned",
                provider=self._provider.name,
                model=str(request.model),
                task=request.step,
                parameter=discovery.parameter,
                meaning=discovery.meaning,
            )

    async def _answered(self, request: ChatRequest, body: dict[str, Any]) -> Answer:
        path = self._address.chat_path(body["model"])
        response = await self._sent(path, to_json(body), request)
        read = await self._read(response.content, request)
        if read.body is NO_JSON:
            raise await self._unreadable(response, read.body, request)
        if read.error:
            raise _Refused(read.error, response.headers, body=read.body)
        if completion.is_blocked(read.body):
            reason, why = DeadLetterReason.CONTENT_FILTERED, "the provider's filter blocked it"
            raise _paid(RecordRejected(reason, why, step=request.step, model=request.model, cause=why), read.body)
        usage = read.answer.usage if read.answer else _usage(read.body)
        limits = self._limits(dict(response.headers.items()), request, usage=usage)
        if read.answer is None:
            raise _paid(await self._unreadable(response, read.body, request), read.body)
        if read.answer.finish_reason == ERROR:
            raise _paid(ProviderUnavailable("the provider broke the answer off", limits=limits), read.body)
        return replace(read.answer, limits=limits)

    async def _read(self, content: bytes, request: ChatRequest) -> completion.Completion:
        call, keys = self._call(request), tuple(key for key in self._keys if len(key) >= _SHORTEST_KEY)
        return await in_worker_thread(
            len(content) + request.input_bytes,
            lambda: completion.read(content, quoted=call.quoted, secrets=call.secrets, keys=keys),
        )

    async def _sent(self, path: str, content: bytes | None, request: ChatRequest | None) -> httpx2.Response:
        """Post this content, or get what is there. Send it once more if the key is refused and another one is found.

        Raises:
            _Refused: the provider answered with an error.
        """
        key = await self._provider.credentials.key()
        response = await self._sent_with(key, path, content)
        if response.is_success:
            return response
        refused = await self._refused(response, request)
        if _is_about_the_key(refused.said):
            changed = await self._provider.credentials.refresh()
            newer = await self._provider.credentials.key()
            if changed or newer != key:
                response = await self._sent_with(newer, path, content)
                if response.is_success:
                    return response
                refused = await self._refused(response, request)
        raise refused

    async def _sent_with(self, key: str | None, path: str, content: bytes | None) -> httpx2.Response:
        """The response, whatever its status. The SDK builds the first request to a path with a key."""
        headers = self._key_headers(key)
        async with asyncio.timeout(self._provider.request_timeout_seconds):
            built = self._built.get(path)
            if content is not None and built is not None and built.key == key:
                return await self._http.repeat(built.request, content)
            options: Any = {"headers": headers}
            try:
                if content is None:
                    return await self._sdk.get(path, cast_to=httpx2.Response, options=options)
                response = await self._sdk.post(path, cast_to=httpx2.Response, content=content, options=options)
            except openai.APIStatusError as error:
                return error.response
        self._built[path] = _BuiltRequest(key, _without_body(response.request))
        return response

    def _key_headers(self, key: str | None) -> dict[str, Any]:
        if key is not None:
            self._provider.secrets.learn(key, is_passing=True)
            self._keys[key] = None
            for old in list(self._keys)[:-3]:
                del self._keys[old]
        if any(name.lower() in {"authorization", "api-key"} for name in self._provider.headers):
            return {}
        if key and self._address.is_classic_azure and not key.startswith(_TOKEN_OF_AN_IDENTITY):
            return {"Authorization": openai.Omit(), "api-key": key}
        return {"Authorization": f"Bearer {key or _NO_KEY}"}

    async def _refused(self, response: httpx2.Response, request: ChatRequest | None) -> _Refused:
        said = await self._told(response.status_code, response.content, request)
        return _Refused(said, response.headers)

    async def _told(self, status: int, content: bytes, request: ChatRequest | None) -> ProviderError:
        call = self._call(request)
        return await in_worker_thread(
            len(content) + (call.input_bytes or 0),
            lambda: read_error(status, content, quoted=call.quoted, secrets=call.secrets),
        )

    def _fault(self, refused: _Refused, request: ChatRequest | None, sent: Sent | None) -> DocsluiceError:
        fault = fault_of(
            refused.said,
            self._call(request),
            headers=refused.headers,
            now=datetime.now(UTC),
            parameter=complaint(refused.said, sent) if sent else None,
        )
        if isinstance(fault, AttemptFailed) and request is not None:
            fault.limits = self._limits(refused.headers, request, usage=_usage(refused.body))
        return _paid(fault, refused.body) if isinstance(fault, AttemptFailed | RecordRejected) else fault

    async def _unreadable(self, response: httpx2.Response, body: Any, request: ChatRequest | None) -> AnswerUnreadable:
        # Before anything is shortened: the rest of a key could not be told from other words.
        redaction, content = redaction_of(self._call(request).secrets), response.content
        if redaction.is_in(told := content.decode("utf-8", errors="replace")):
            content, body = redaction.cut(told, most=_SHOWN_CHARACTERS).encode(errors="replace"), NO_JSON
        content_type = redaction.cut(response.headers.get("content-type", ""))
        what = completion.what_it_is(content, body, content_type=content_type)
        said = await self._told(response.status_code, what.encode(errors="replace"), request)
        begun = "the provider's answer is no chat completion, it is"
        return AnswerUnreadable(f"{begun} {said.words}", cause=f"{begun} {said.loggable}")

    def _limits(self, headers: Mapping[str, str], request: ChatRequest, *, usage: Usage | None) -> dict[str, float]:
        model = str(request.model)
        limits = self._said_limits.read(headers, model=model, now=time.time(), usage=usage)
        for quota, limit in self._said_limits.newly_refuted():
            log.warning("provider.limit_not_believed", model=model, quota=quota, limit=limit)
        return limits

    def _call(self, request: ChatRequest | None) -> Call:
        """What a fault must name, and what it must not quote. A request for the list of models names no model."""
        provider = self._provider
        return Call(
            step=request.step if request else "check",
            model=request.model if request else None,
            quoted=Quoted(turn.content for turn in request.messages) if request else Quoted(),
            secrets=self._secrets(),
            key_setting=provider.key_setting,
            address_setting=provider.address_setting,
            model_setting=provider.model_setting,
            input_bytes=request.input_bytes if request else None,
        )

    def _secrets(self) -> tuple[str, ...]:
        """What an error must not contain: the process' secrets, and what this provider is sent, however short."""
        headers = (value for value in self._provider.headers.values() if len(value) >= _SHORTEST_SECRET)
        return tuple(dict.fromkeys((*self._provider.secrets.known(), *self._keys, *headers)))

    @contextlib.contextmanager
    def _translated(self, request: ChatRequest | None) -> Iterator[None]:
        try:
            yield
        except DocsluiceError:
            raise
        except Exception as error:  # noqa: BLE001 - what nobody has foreseen is the provider's too, never a document's
            # Without its cause: the SDK's message may echo the key, and a dead letter carries the stack trace.
            raise self._fault_of(error, request) from None

    def _fault_of(self, error: Exception, request: ChatRequest | None) -> DocsluiceError:
        if (no_file := out_of_files(error)) is not None:
            return no_file
        if isinstance(error, FOREIGN):
            return translate(error, self._call(request), now=datetime.now(UTC))
        return ProviderUnavailable(f"the call failed in an unforeseen way ({type(error).__name__})")


def _without_body(request: httpx2.Request) -> httpx2.Request:
    """The same request without its document, which would be held for as long as we run."""
    empty = httpx2.ByteStream(b"")
    return httpx2.Request(
        request.method, request.url, headers=request.headers, stream=empty, extensions=request.extensions
    )


def _paid(fault: _F, body: Any) -> _F:
    """Add the usage and cost in the body to the fault."""
    fault.usage = _usage(body)
    fault.stated_cost_usd = stated_cost_usd(body.get("usage")) if isinstance(body, Mapping) else None
    return fault


def _usage(body: Any) -> Usage | None:
    return usage_of(body.get("usage")) if isinstance(body, Mapping) else None


def _is_about_the_key(said: ProviderError) -> bool:
    return said.status == _UNAUTHORIZED or meaning_of(said) is Meaning.BAD_KEY
