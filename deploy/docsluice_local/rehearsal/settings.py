"""Settings of a rehearsal: how fast the provider answers, what it allows, and how often it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from docsluice_local.rehearsal.characters.character import Character
from docsluice_local.rehearsal.faults import Trouble, fault_named
from docsluice_local.rehearsal.limits import Limited
from docsluice_local.rehearsal.script import Script

_LATENCY = Group("How fast it is", sort_key=2)
_LIMITS = Group("What it allows", sort_key=3)
_SERVER = Group("What it is like", sort_key=4)
_Whole = Annotated[int, Parameter(metavar="N", validator=Number(gt=0))]
_Positive = Annotated[float, Parameter(metavar="N", validator=Number(gt=0))]
_NotNegative = Annotated[float, Parameter(metavar="N", validator=Number(gte=0), group=_LATENCY)]
_Limit = Annotated[_Positive | None, Parameter(group=_LIMITS, show_default="none")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RehearsalSettings:
    """All that shapes the rehearsal provider; every default means "does not get in the way".

    Attributes:
        seed: same seed, same latencies and faults for the same requests, in whatever order they arrive
        median_seconds: median of the lognormal latency (0 answers at once)
        sigma: standard deviation of the latency's logarithm (0: every call takes the median)
        slow_past: calls in flight, past which every further one makes them slower
        slow_power: how much slower: the latency is multiplied by (in flight / slow_past) to this power
        requests_per_minute: limit on requests
        tokens_per_minute: limit on tokens, input and output together
        input_tokens_per_minute: limit on input tokens
        output_tokens_per_minute: limit on output tokens
        limits_by_model: each model has these limits to itself, instead of all sharing them
        limit_headers: whether there are x-ratelimit headers and Retry-After (some servers, as vLLM, send none)
        window_seconds: how much of a minute's limit may be used in one burst
        reserved_output_tokens: the most of a request's own output bound that is counted before the call runs. What it
            really used is settled after it
        context_tokens: prompt and output bound together may not be more
        models: a model that exists (may be said several times)
        api_key: the bearer token that is asked for
        json_schema: whether a json_schema response format is answered (some servers answer 400)
        json_object: the same for json_object
        fault_rates: the share of calls that fail in each way, between 0 and 1.
        script: what it answers to which task. The rest is made up.
        character: the provider whose headers, answers and errors are played. None for one of no particular kind.
    """

    seed: Annotated[int, Parameter(metavar="N", group=_LATENCY)] = 7
    median_seconds: _NotNegative = 0.0
    sigma: _NotNegative = 0.0
    slow_past: Annotated[_Whole | None, Parameter(group=_LATENCY, show_default="never")] = None
    slow_power: _NotNegative = 1.0
    requests_per_minute: _Limit = None
    tokens_per_minute: _Limit = None
    input_tokens_per_minute: _Limit = None
    output_tokens_per_minute: _Limit = None
    limits_by_model: Annotated[bool, Parameter(group=_LIMITS)] = False
    limit_headers: Annotated[bool, Parameter(group=_LIMITS, negative="--no-limit-headers")] = True
    window_seconds: Annotated[_Positive, Parameter(group=_LIMITS)] = 1.0
    reserved_output_tokens: Annotated[int, Parameter(metavar="N", group=_LIMITS)] = 256
    context_tokens: Annotated[_Whole | None, Parameter(group=_LIMITS, show_default="endless")] = None
    models: Annotated[
        tuple[str, ...], Parameter(name="--model", metavar="NAME", group=_SERVER, show_default="any")
    ] = ()
    api_key: Annotated[str | None, Parameter(metavar="KEY", group=_SERVER, show_default="any")] = None
    json_schema: Annotated[bool, Parameter(group=_SERVER, negative="--without-json-schema")] = True
    json_object: Annotated[bool, Parameter(group=_SERVER, negative="--without-json-object")] = True
    fault_rates: Annotated[Mapping[Trouble, float], Parameter(parse=False)] = field(default_factory=dict)
    script: Annotated[Script | None, Parameter(parse=False)] = None
    character: Annotated[Character | None, Parameter(parse=False)] = None

    def __post_init__(self) -> None:
        """Refuse impossible values.

        Raises:
            ValueError: a number is out of its range, or the character is not known for an error.
        """
        for fault in self.fault_rates:
            fault_named(fault, self.character)
        if self.median_seconds < 0 or self.sigma < 0:
            raise ValueError("median_seconds and sigma may not be negative")
        if self.slow_power < 0:
            raise ValueError("slow_power may not be negative")
        for limit in (*self.per_minute.values(), self.window_seconds, self.slow_past):
            if limit is not None and limit <= 0:
                raise ValueError("limits, window_seconds and slow_past must be more than 0")
        if min(self.fault_rates.values(), default=0) < 0 or sum(self.fault_rates.values()) > 1:
            raise ValueError("fault rates must not be negative, nor more than 1 together")

    @property
    def per_minute(self) -> dict[Limited, float]:
        """The limits that there are."""
        limits = {
            Limited.REQUESTS: self.requests_per_minute,
            Limited.TOKENS: self.tokens_per_minute,
            Limited.INPUT_TOKENS: self.input_tokens_per_minute,
            Limited.OUTPUT_TOKENS: self.output_tokens_per_minute,
        }
        return {what: limit for what, limit in limits.items() if limit is not None}
