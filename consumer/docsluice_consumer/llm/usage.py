"""Reads the tokens and the cost of a call in the shapes that servers tell them in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from docsluice.messages import Usage

_MOST_TOKENS = 10_000_000
"""More than any call takes. A server that says otherwise must not spoil sums or limits."""
_MOST_USD, _LEAST_USD = Decimal(1000), Decimal("1e-12")
"""No price is finer. A number with a million places would be written out in every result."""
_INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count", "promptTokenCount", "prompt_eval_count")
_OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count", "candidatesTokenCount", "eval_count")
_TOTAL = ("total_tokens", "total_token_count", "totalTokenCount")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_CACHED = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens", "cachedContentTokenCount")
_THOUGHT = ("reasoning_tokens", "thoughts_token_count", "thoughtsTokenCount")


def usage_of(told: Any) -> Usage | None:
    """The usage of a call. None if the server does not tell the input tokens.

    Thinking counts as output. Some servers tell it in the total only, and some leave it out of the completion.
    """
    if not isinstance(told, Mapping):
        return None
    total, completion = _first(told, _TOTAL), _first(told, _OUTPUT)
    read = _read(told)
    if read is None and total is not None and completion is not None:
        read = max(0, total - completion)
    if not read:
        return None
    thought = max(_first(told, _THOUGHT) or 0, _inside(told, _OUTPUT_DETAILS, _THOUGHT))
    written = completion or 0
    if total is not None and total - read > written:
        thought = max(thought, total - read - written) if completion is not None else thought
        written = total - read
    elif thought > written:
        written += thought
    cached = max(_first(told, _CACHED) or 0, _inside(told, _INPUT_DETAILS, _CACHED))
    read, written = min(read, _MOST_TOKENS), min(written, _MOST_TOKENS)
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cached_tokens=min(cached, read),
        reasoning_tokens=min(thought, written),
    )


def stated_cost_usd(told: Any) -> Decimal | None:
    """The cost that the provider itself states, in US dollars, as OpenRouter and Perplexity do.

    With an own key at a gateway, its `cost` is the gateway's fee alone, so the provider's cost is added.
    """
    if not isinstance(told, Mapping):
        return None
    cost = told.get("cost")
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    amount = _usd(cost)
    details = told.get("cost_details")
    if amount is not None and told.get("is_byok") and isinstance(details, Mapping):
        amount += _usd(details.get("upstream_inference_cost")) or Decimal(0)
    return amount


def _read(told: Mapping[str, Any]) -> int | None:
    read = _first(told, _INPUT)
    if read is not None and "prompt_tokens" not in told and "input_tokens_details" not in told:
        # Anthropic's own shape counts only uncached input.
        read += (_number(told.get("cache_read_input_tokens")) or 0) + (
            _number(told.get("cache_creation_input_tokens")) or 0
        )
    return read


def _first(told: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if name in told and (number := _number(told[name])) is not None:
            return number
    return None


def _inside(told: Mapping[str, Any], places: tuple[str, ...], names: tuple[str, ...]) -> int:
    details = [told[place] for place in places if place in told]
    return max((_first(inner, names) or 0 for inner in details if isinstance(inner, Mapping)), default=0)


def _number(value: Any) -> int | None:
    """A count as an integer, a float or a string. None of anything else. Counters never go backwards."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(max(0.0, min(number, 1e9))) if number == number else None  # noqa: PLR0124 - NaN is the one that is not


def _usd(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount.quantize(_LEAST_USD) if amount.is_finite() and 0 <= amount <= _MOST_USD else None
