"""What becomes of one call: which fault it meets, or which answer it gets and when. No I/O; time is passed in."""

import math
from collections import Counter
from dataclasses import dataclass

from deploy.local.rehearsal import replies
from deploy.local.rehearsal.chat import BYTES_PER_TOKEN, ChatCall
from deploy.local.rehearsal.draws import Draw, draw, lognormal_seconds
from deploy.local.rehearsal.faults import Fault, drawn_fault, is_marked, marked_fault
from deploy.local.rehearsal.limiter import MinuteLimit
from deploy.local.rehearsal.messages import write_message
from deploy.local.rehearsal.replies import Reply, Usage
from deploy.local.rehearsal.settings import RehearsalSettings

_CACHE_BLOCK_TOKENS = 128  # OpenAI's prompt cache reuses whole blocks of 128 tokens, from 1,024 on
_CACHE_LEAST_TOKENS = 1_024
_RETRY_SECONDS = 1.0
_AT_ONCE = frozenset(
    {
        Fault.RATE_LIMITED,
        Fault.RATE_LIMITED_BARE,
        Fault.INSUFFICIENT_QUOTA,
        Fault.REQUEST_TOO_LARGE,
        Fault.CONTEXT_LENGTH_EXCEEDED,
        Fault.BAD_KEY,
        Fault.MODEL_NOT_FOUND,
    }
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do with a call: wait `latency_seconds`, then send the reply; without one, hang or break the connection.

    `fault` is None for a good answer and for a limit that was really exceeded.
    """

    reply: Reply | None
    latency_seconds: float
    fault: Fault | None
    attempt: int
    reserved_tokens: int
    usage: Usage | None = None


class Judge:
    """Keeps what a provider knows between calls: the limits, the cache, and how often each request has come."""

    def __init__(self, *, settings: RehearsalSettings, now: float) -> None:
        self.settings = settings
        self.fault_rates = dict(settings.fault_rates)
        self.outage: Fault | None = None
        self._requests = self._limit(settings.requests_per_minute, now)
        self._tokens = self._limit(settings.tokens_per_minute, now)
        self._attempts: Counter[bytes] = Counter()
        self._marked_calls: Counter[tuple[str, str]] = Counter()
        self._cached_preambles: set[bytes] = set()

    def knows_key(self, authorization: str | None) -> bool:
        """Whether an Authorization header opens the door."""
        key = self.settings.api_key
        return key is None or authorization == f"Bearer {key}"

    def decide(self, call: ChatCall, *, now: float) -> Verdict:
        """Decide one call, in the order in which a provider looks at it: validity, limits, and then its own troubles.

        Raises:
            UnknownFaultError: the document holds a marker that names no fault.
        """
        self._attempts[call.content] += 1
        attempt = self._attempts[call.content]
        drawn = draw(seed=self.settings.seed, content=call.content, attempt=attempt)
        if self.outage is not None:
            return self._fail(call, self.outage, drawn, attempt)
        if invalid := self._invalid(call):
            return self._at_once(invalid, attempt)
        reserved = call.prompt_tokens + min(call.max_output_tokens, self.settings.reserved_output_tokens)
        if limited := self._over_limit(reserved, now):
            return self._at_once(limited, attempt)
        fault = self._marked(call) or drawn_fault(self.fault_rates, quantile=drawn.fault_quantile)
        if fault is not None:
            return self._fail(call, fault, drawn, attempt, reserved)
        return self._answer(call, drawn, attempt, reserved)

    def settle(self, verdict: Verdict, *, now: float) -> None:
        """After the call: count what it used instead of what was reserved for it."""
        if self._tokens is not None and verdict.usage is not None:
            used = verdict.usage.prompt_tokens + verdict.usage.completion_tokens
            self._tokens.take(used - verdict.reserved_tokens, now=now)

    def limit_headers(self, *, now: float) -> dict[str, str]:
        """The `x-ratelimit-*` headers of a reply; none where there is no limit."""
        headers = {}
        for what, limit in (("requests", self._requests), ("tokens", self._tokens)):
            if limit is not None:
                headers[f"x-ratelimit-limit-{what}"] = f"{limit.per_minute:.0f}"
                headers[f"x-ratelimit-remaining-{what}"] = str(limit.remaining(now=now))
                headers[f"x-ratelimit-reset-{what}"] = replies.duration(limit.reset_seconds(now=now))
        return headers

    def _limit(self, per_minute: float | None, now: float) -> MinuteLimit | None:
        if per_minute is None:
            return None
        return MinuteLimit(per_minute=per_minute, window_seconds=self.settings.window_seconds, now=now)

    def _invalid(self, call: ChatCall) -> Reply | None:
        settings = self.settings
        if settings.models and call.model not in settings.models:
            return replies.model_not_found(call.model)
        unsupported = {"json_schema": not settings.json_schema, "json_object": not settings.json_object}
        if unsupported.get(call.response_format):
            return replies.unsupported_format(call.response_format)
        if settings.context_tokens is not None and call.prompt_tokens >= settings.context_tokens:
            return replies.context_length_exceeded(
                context_tokens=settings.context_tokens, prompt_tokens=call.prompt_tokens
            )
        return None

    def _over_limit(self, reserved: int, now: float) -> Reply | None:
        """Count the call against the minute's limits. One that fails for its tokens has still used up a request."""
        if self._requests is not None:
            if wait_seconds := self._requests.wait_seconds(now=now):
                return self._limited("requests", self._requests, 1, wait_seconds, now)
            self._requests.take(1, now=now)
        if self._tokens is not None:
            if reserved > self._tokens.per_minute:
                return replies.request_too_large(per_minute=self._tokens.per_minute, requested=reserved)
            if wait_seconds := self._tokens.wait_seconds(now=now):
                return self._limited("tokens", self._tokens, reserved, wait_seconds, now)
            self._tokens.take(reserved, now=now)
        return None

    def _limited(self, what: str, limit: MinuteLimit, requested: int, wait_seconds: float, now: float) -> Reply:
        used = limit.per_minute - limit.remaining(now=now)
        return replies.rate_limited(
            what=what, per_minute=limit.per_minute, used=used, requested=requested, wait_seconds=wait_seconds
        )

    def _marked(self, call: ChatCall) -> Fault | None:
        if not is_marked(call.document):
            return None
        place = (call.document_hash, call.task)
        self._marked_calls[place] += 1
        return marked_fault(call.document, call_number=self._marked_calls[place])

    def _at_once(self, reply: Reply, attempt: int, fault: Fault | None = None) -> Verdict:
        return Verdict(reply=reply, latency_seconds=0.0, fault=fault, attempt=attempt, reserved_tokens=0)

    def _fail(self, call: ChatCall, fault: Fault, drawn: Draw, attempt: int, reserved: int = 0) -> Verdict:
        if fault in {Fault.HANG, Fault.RESET}:
            return Verdict(reply=None, latency_seconds=0.0, fault=fault, attempt=attempt, reserved_tokens=reserved)
        if (reply := self._fault_reply(call, fault)) is None:
            return self._answer(call, drawn, attempt, reserved, fault)
        if fault in _AT_ONCE:
            return self._at_once(reply, attempt, fault)
        return Verdict(
            reply=reply,
            latency_seconds=self._latency_seconds(drawn),
            fault=fault,
            attempt=attempt,
            reserved_tokens=reserved,
        )

    def _fault_reply(self, call: ChatCall, fault: Fault) -> Reply | None:
        """The error of a fault; None for the faults that spoil an answer."""
        per_minute = self.settings.requests_per_minute or 0
        match fault:
            case Fault.RATE_LIMITED | Fault.RATE_LIMITED_BARE:
                wait_seconds = _RETRY_SECONDS if fault is Fault.RATE_LIMITED else None
                return replies.rate_limited(
                    what="requests", per_minute=per_minute, used=per_minute, requested=1, wait_seconds=wait_seconds
                )
            case Fault.REQUEST_TOO_LARGE:
                return replies.request_too_large(
                    per_minute=self.settings.tokens_per_minute or 0, requested=call.prompt_tokens
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

    def _answer(self, call: ChatCall, drawn: Draw, attempt: int, reserved: int, fault: Fault | None = None) -> Verdict:
        message = write_message(call, seed=drawn.answer_seed, fault=fault)
        words = message.content or message.refusal or ""
        usage = Usage(
            prompt_tokens=call.prompt_tokens,
            completion_tokens=math.ceil(len(words.encode()) / BYTES_PER_TOKEN),
            cached_tokens=self._cached_tokens(call),
        )
        reply = replies.completion(
            request_id=f"{drawn.answer_seed:016x}", model=call.model, message=message, usage=usage
        )
        return Verdict(
            reply=reply,
            latency_seconds=self._latency_seconds(drawn),
            fault=fault,
            attempt=attempt,
            reserved_tokens=reserved,
            usage=usage,
        )

    def _latency_seconds(self, drawn: Draw) -> float:
        return lognormal_seconds(
            median_seconds=self.settings.median_seconds, sigma=self.settings.sigma, quantile=drawn.latency_quantile
        )

    def _cached_tokens(self, call: ChatCall) -> int:
        if call.preamble_tokens < _CACHE_LEAST_TOKENS:
            return 0
        known = call.preamble in self._cached_preambles
        self._cached_preambles.add(call.preamble)
        return call.preamble_tokens // _CACHE_BLOCK_TOKENS * _CACHE_BLOCK_TOKENS if known else 0
