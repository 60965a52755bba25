"""Decides one call: which fault it meets, or which answer it gets and when. No I/O. Time is passed in."""

import math
from collections import Counter
from dataclasses import dataclass, field, replace

from docsluice_local.rehearsal import replies
from docsluice_local.rehearsal.characters.character import ErrorKind
from docsluice_local.rehearsal.chat import BYTES_PER_TOKEN, ChatCall
from docsluice_local.rehearsal.draws import Draw, draw, lognormal_seconds
from docsluice_local.rehearsal.faults import Fault, Trouble, drawn_fault, is_marked, marked_fault
from docsluice_local.rehearsal.limits import Amounts, Excess, Limited, Limits
from docsluice_local.rehearsal.load import slowdown
from docsluice_local.rehearsal.messages import write_message
from docsluice_local.rehearsal.replies import Reply, Usage
from docsluice_local.rehearsal.settings import RehearsalSettings

_CACHE_BLOCK_TOKENS = 128  # OpenAI's prompt cache reuses whole blocks of 128 tokens, from 1,024 on
_CACHE_LEAST_TOKENS = 1_024
_USUAL_REQUESTS, _USUAL_TOKENS = 500, 30_000
"""The limits that a refusal names where none is set. A limit of 0 would be an empty account's."""
_RETRY_SECONDS = 1.0
_AT_ONCE: frozenset[Trouble] = frozenset(
    {
        *(set(ErrorKind) - {ErrorKind.UNAVAILABLE, ErrorKind.OVERLOADED, ErrorKind.TIMEOUT}),
        Fault.RATE_LIMITED,
        Fault.RATE_LIMITED_BARE,
        Fault.INSUFFICIENT_QUOTA,
        Fault.REQUEST_TOO_LARGE,
        Fault.CONTEXT_LENGTH_EXCEEDED,
        Fault.BAD_KEY,
        Fault.MODEL_NOT_FOUND,
    }
)


ALL_MODELS = None
"""The key of an outage that meets every model."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do with a call: wait `latency_seconds`, then send the reply. Without one, hang or break the connection.

    `fault` is None for a good answer and for a limit that was really exceeded. That limit is `limited_by`. `reserved`
    is what was counted for the call before it runs, nothing where it was refused.
    """

    model: str
    reply: Reply | None
    latency_seconds: float
    attempt: int
    fault: Trouble | None = None
    limited_by: Limited | None = None
    reserved: Amounts = field(default_factory=Amounts)
    usage: Usage | None = None


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One call before the judge."""

    call: ChatCall
    attempt: int
    drawn: Draw
    latency_seconds: float
    reserved: Amounts = field(default_factory=Amounts)

    def verdict(
        self,
        reply: Reply | None,
        *,
        fault: Trouble | None = None,
        limited_by: Limited | None = None,
        at_once: bool = False,
        usage: Usage | None = None,
    ) -> Verdict:
        return Verdict(
            model=self.call.model,
            reply=reply,
            latency_seconds=0.0 if at_once else self.latency_seconds,
            attempt=self.attempt,
            fault=fault,
            limited_by=limited_by,
            reserved=self.reserved,
            usage=usage,
        )


class Judge:
    """Keeps what a provider knows between calls: the limits, the cache, and how often each request has come.

    `outages` holds the fault that every call of a model meets, or under `ALL_MODELS` every call.
    """

    def __init__(self, *, settings: RehearsalSettings, now: float) -> None:
        self.settings = settings
        self.fault_rates = dict(settings.fault_rates)
        self.outages: dict[str | None, Trouble] = {}
        self.limits = Limits(
            per_minute=settings.per_minute,
            window_seconds=settings.window_seconds,
            by_model=settings.limits_by_model,
            now=now,
        )
        self._attempts: Counter[bytes] = Counter()
        self._marked_calls: Counter[tuple[str, str]] = Counter()
        self._cached_preambles: set[bytes] = set()

    def knows_key(self, authorization: str | None) -> bool:
        """Whether an Authorization header has the right key."""
        key = self.settings.api_key
        return key is None or authorization == f"Bearer {key}"

    def decide(self, call: ChatCall, *, now: float, in_flight: int = 1) -> Verdict:
        """Decide one call in a provider's order: validity, limits, then its own faults.

        `in_flight` is how many calls are being answered, this one included.

        Raises:
            UnknownFaultError: the document holds a marker that names no fault.
        """
        case = self._case(call, in_flight)
        outage = self.outages.get(ALL_MODELS) or self.outages.get(call.model)
        if outage is not None:
            return self._fail(case, outage)
        if invalid := self._invalid(call):
            return case.verdict(invalid, at_once=True)
        reserved = Amounts(
            input_tokens=call.prompt_tokens,
            output_tokens=min(call.max_output_tokens, self.settings.reserved_output_tokens),
        )
        if excess := self.limits.reserve(reserved, model=call.model, now=now):
            return case.verdict(self._limited(excess), limited_by=excess.what, at_once=True)
        case = replace(case, reserved=reserved)
        fault = self._marked(call) or drawn_fault(self.fault_rates, quantile=case.drawn.fault_quantile)
        return self._answer(case) if fault is None else self._fail(case, fault)

    def settle(self, verdict: Verdict, *, now: float) -> None:
        """After the call: count what it used instead of what was reserved for it."""
        if verdict.usage is not None:
            used = Amounts(input_tokens=verdict.usage.prompt_tokens, output_tokens=verdict.usage.completion_tokens)
            self.limits.settle(verdict.reserved, used, model=verdict.model, now=now)

    def limit_headers(self, *, model: str | None, now: float) -> dict[str, str]:
        """The `x-ratelimit-*` headers of a reply. None where there is no limit, or where they are not to be sent."""
        return self.limits.headers(model=model, now=now) if self.settings.limit_headers else {}

    def _case(self, call: ChatCall, in_flight: int) -> _Case:
        settings = self.settings
        self._attempts[call.content] += 1
        attempt = self._attempts[call.content]
        drawn = draw(seed=settings.seed, content=call.content, attempt=attempt)
        alone = lognormal_seconds(
            median_seconds=settings.median_seconds, sigma=settings.sigma, quantile=drawn.latency_quantile
        )
        factor = slowdown(in_flight, past=settings.slow_past, power=settings.slow_power)
        return _Case(call=call, attempt=attempt, drawn=drawn, latency_seconds=alone * factor)

    def _invalid(self, call: ChatCall) -> Reply | None:
        settings = self.settings
        if settings.models and call.model not in settings.models:
            return replies.model_not_found(call.model)
        if settings.character and (
            refusal := settings.character.refusal_of(model=call.model, parameters=call.parameters)
        ):
            headers, body = refusal.filled({"model": call.model})
            return replies.refused(status=refusal.status, headers=headers, body=body)
        unsupported = {"json_schema": not settings.json_schema, "json_object": not settings.json_object}
        if unsupported.get(call.response_format):
            return replies.unsupported_format(call.response_format)
        if settings.context_tokens is not None and call.prompt_tokens >= settings.context_tokens:
            return replies.context_length_exceeded(
                context_tokens=settings.context_tokens, prompt_tokens=call.prompt_tokens
            )
        return None

    def _limited(self, excess: Excess) -> Reply:
        if excess.wait_seconds is None:
            return replies.request_too_large(what=excess.what, per_minute=excess.per_minute, requested=excess.requested)
        return replies.rate_limited(
            what=excess.what,
            per_minute=excess.per_minute,
            used=excess.used,
            requested=excess.requested,
            wait_seconds=excess.wait_seconds if self.settings.limit_headers else None,
        )

    def _marked(self, call: ChatCall) -> Trouble | None:
        if not is_marked(call.document):
            return None
        place = (call.document_hash, call.task)
        self._marked_calls[place] += 1
        return marked_fault(
            call.document,
            call_number=self._marked_calls[place],
            task=call.task,
            character=self.settings.character,
        )

    def _fail(self, case: _Case, fault: Trouble) -> Verdict:
        if fault in {Fault.HANG, Fault.RESET}:
            return case.verdict(None, fault=fault, at_once=True)
        if (reply := self._fault_reply(case.call, fault)) is None:
            return self._answer(case, fault)
        return case.verdict(reply, fault=fault, at_once=fault in _AT_ONCE)

    def _fault_reply(self, call: ChatCall, fault: Trouble) -> Reply | None:
        """The error of a fault. None for the faults that spoil an answer."""
        match fault:
            case ErrorKind():
                sizes = {"prompt_tokens": call.prompt_tokens, "max_output_tokens": call.max_output_tokens}
                return replies.of_kind(fault, {**sizes, "total_tokens": sum(sizes.values())})
            case Fault.RATE_LIMITED | Fault.RATE_LIMITED_BARE:
                tells = fault is Fault.RATE_LIMITED and self.settings.limit_headers
                per_minute = self.limits.per_minute.get(Limited.REQUESTS, _USUAL_REQUESTS)
                return replies.rate_limited(
                    what=Limited.REQUESTS,
                    per_minute=per_minute,
                    used=per_minute,
                    requested=1,
                    wait_seconds=_RETRY_SECONDS if tells else None,
                )
            case Fault.REQUEST_TOO_LARGE:
                return replies.request_too_large(
                    per_minute=self.limits.per_minute.get(Limited.TOKENS, _USUAL_TOKENS), requested=call.prompt_tokens
                )
            case Fault.CONTEXT_LENGTH_EXCEEDED:
                return replies.context_length_exceeded(
                    context_tokens=self.settings.context_tokens or 0, prompt_tokens=call.prompt_tokens
                )
            case Fault.MODEL_NOT_FOUND:
                return replies.model_not_found(call.model)
            case Fault.BAD_KEY:
                return replies.bad_key()
            case _:
                return replies.FAULT_REPLIES.get(fault)

    def _answer(self, case: _Case, fault: Trouble | None = None) -> Verdict:
        call, seed = case.call, case.drawn.answer_seed
        character = self.settings.character
        message = write_message(
            call,
            seed=seed,
            fault=fault,
            thinks=character is not None and character.thinks(call.model),
            script=self.settings.script,
        )
        thought = _tokens(message.thinking)
        usage = Usage(
            prompt_tokens=call.prompt_tokens,
            completion_tokens=thought + _tokens(message.content or message.refusal or ""),
            cached_tokens=self._cached_tokens(call),
            reasoning_tokens=thought,
        )
        reply = replies.completion(request_id=f"{seed:016x}", model=call.model, message=message, usage=usage)
        return case.verdict(reply, fault=fault, usage=usage)

    def _cached_tokens(self, call: ChatCall) -> int:
        if call.preamble_tokens < _CACHE_LEAST_TOKENS:
            return 0
        known = call.preamble in self._cached_preambles
        self._cached_preambles.add(call.preamble)
        return call.preamble_tokens // _CACHE_BLOCK_TOKENS * _CACHE_BLOCK_TOKENS if known else 0


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)
