"""Settings of a rehearsal: how fast the provider answers, what it allows, and how often it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from docsluice_local.rehearsal.characters.character import Character
from docsluice_local.rehearsal.faults import Trouble, fault_named
from docsluice_local.rehearsal.limits import Limited


@dataclass(frozen=True, kw_only=True)
class RehearsalSettings:
    """All that shapes the rehearsal provider. Every default means "does not get in the way".

    Attributes:
        seed: the same seed and the same requests give the same latencies and faults, in whatever order they arrive.
        median_seconds: the median of the lognormal latency. 0 answers at once.
        sigma: the standard deviation of the latency's logarithm. 0 makes every call take the median.
        requests_per_minute: None for no limit.
        tokens_per_minute: input and output together. None for no limit.
        input_tokens_per_minute: None for no limit.
        output_tokens_per_minute: None for no limit.
        limits_by_model: whether each model has these limits to itself, instead of all sharing them.
        limit_headers: False sends no `x-ratelimit-*` and no Retry-After, and no word in their place.
        window_seconds: how much of a minute's limit may be used in one burst.
        reserved_output_tokens: of a request's own output bound, at most so much is counted before the call runs. What
            it really used is settled after it.
        slow_past: calls in flight, past which every further one makes them slower. None for never.
        slow_power: how much slower: the latency is multiplied by (in flight / slow_past) to this power.
        fault_rates: the share of calls that fail in each way, between 0 and 1.
        context_tokens: prompt and output bound together may not be more. None for no bound.
        models: the models that exist. Empty for any.
        api_key: the bearer token that is asked for. None to take any.
        json_schema: False answers 400 to a `json_schema` response format, as servers without it do.
        json_object: the same for `json_object`.
        character: the provider whose headers, answers and errors are played. None for one of no particular kind.
    """

    seed: int = 7
    median_seconds: float = 0.0
    sigma: float = 0.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    limits_by_model: bool = False
    limit_headers: bool = True
    window_seconds: float = 1.0
    reserved_output_tokens: int = 256
    slow_past: int | None = None
    slow_power: float = 1.0
    fault_rates: Mapping[Trouble, float] = field(default_factory=dict)
    context_tokens: int | None = None
    models: tuple[str, ...] = ()
    api_key: str | None = None
    json_schema: bool = True
    json_object: bool = True
    character: Character | None = None

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
            raise ValueError("fault_rates must not be negative, nor more than 1 together")

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
