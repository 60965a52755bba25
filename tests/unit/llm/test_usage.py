"""Tokens and costs, in every shape that servers tell them in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import Usage
from docsluice_consumer.llm.usage import stated_cost_usd, usage_of


def used(read: int, written: int, *, cached: int = 0, thought: int = 0) -> Usage:
    return Usage(input_tokens=read, output_tokens=written, cached_tokens=cached, reasoning_tokens=thought)


OPENAI = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
ANTHROPIC = {"input_tokens": 60, "output_tokens": 10, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 10}
THOUGHT = {"completion_tokens_details": {"reasoning_tokens": 390}}
GEMINI = {"promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 390, "totalTokenCount": 500}
SHAPES: dict[str, tuple[Any, Usage | None]] = {
    "openai": (OPENAI, used(100, 10)),
    "with cached tokens": (OPENAI | {"prompt_tokens_details": {"cached_tokens": 40}}, used(100, 10, cached=40)),
    "more cached than read": (OPENAI | {"prompt_tokens_details": {"cached_tokens": 900}}, used(100, 10, cached=100)),
    "deepseek's cache": (
        OPENAI | {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        used(100, 10, cached=64),
    ),
    "moonshot's cache": (OPENAI | {"cached_tokens": 64}, used(100, 10, cached=64)),
    "litellm's cache": (OPENAI | {"cache_read_input_tokens": 64}, used(100, 10, cached=64)),
    "anthropic": (ANTHROPIC, used(100, 10, cached=30)),
    "the responses' names": (
        {"input_tokens": 100, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 40}, "total_tokens": 110},
        used(100, 10, cached=40),
    ),
    "floats": ({"prompt_tokens": 100.0, "completion_tokens": 10.0}, used(100, 10)),
    "strings": ({"prompt_tokens": "100", "completion_tokens": "10", "total_tokens": "110"}, used(100, 10)),
    "no completion": ({"prompt_tokens": 100, "total_tokens": 110}, used(100, 10)),
    "no prompt": ({"completion_tokens": 10, "total_tokens": 110}, used(100, 10)),
    "prompt only": ({"prompt_tokens": 5}, used(5, 0)),
    "details that are null": (
        OPENAI | {"prompt_tokens_details": None, "completion_tokens_details": None},
        used(100, 10),
    ),
    "thoughts inside": (
        {"prompt_tokens": 100, "completion_tokens": 400, "total_tokens": 500, **THOUGHT},
        used(100, 400, thought=390),
    ),
    "thoughts in the total only": (OPENAI | {"total_tokens": 500}, used(100, 400, thought=390)),
    "thoughts beside, and in the total": (OPENAI | {"total_tokens": 500} | THOUGHT, used(100, 400, thought=390)),
    "thoughts beside, no total": (
        {"prompt_tokens": 100, "completion_tokens": 10, **THOUGHT},
        used(100, 400, thought=390),
    ),
    "gemini's own": (GEMINI, used(100, 400, thought=390)),
    "a total that is too small": (OPENAI | {"total_tokens": 1}, used(100, 10)),
    "nothing": (None, None),
    "empty": ({}, None),
    "no numbers": ({"prompt_tokens": None, "completion_tokens": 3}, None),
    "zeros, for no prompt is empty": ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
    "below zero": ({"prompt_tokens": -5, "completion_tokens": -3}, None),
    "true": ({"prompt_tokens": True, "completion_tokens": 3}, None),
    "not a number": ({"prompt_tokens": float("nan"), "completion_tokens": 3}, None),
    "beyond all measure": ({"prompt_tokens": 10**400, "completion_tokens": "1e300"}, None),
    "beyond what a call takes": ({"prompt_tokens": 10**15, "completion_tokens": 1e30}, used(10**7, 10**7)),
    "a list": ([1, 2], None),
}


@pytest.mark.parametrize(("told", "usage"), SHAPES.values(), ids=SHAPES)
def test_tokens_are_read_in_every_shape(told: Any, usage: Usage | None) -> None:
    """A server that reports none, or half of it, is still a server, and thinking is paid for as output."""
    assert usage_of(told) == usage


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({"cost": 0.00014}, "0.00014"),
        ({"cost": "0.5"}, "0.5"),
        ({"cost": 0}, "0"),
        ({"cost": {"total_cost": 0.006, "input_tokens_cost": 0.001}}, "0.006"),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, "0.21"),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.2}}, "0.01"),
        ({"cost": "1e-999999"}, "0"),
        ({"cost": f"0.000{'1' * 5000}"}, "0.000111111111"),
        ({"cost": "1e999999"}, None),
        ({"cost": "1000.01"}, None),
        ({"cost": -1}, None),
        ({"cost": float("inf")}, None),
        ({"cost": "much"}, None),
        ({"cost": True}, None),
        ({}, None),
        (None, None),
    ],
    ids=lambda told: str(told)[:40],
)
def test_a_providers_own_cost_is_read(told: Any, cost: str | None) -> None:
    """In dollars, with twelve places at most. Nonsense is none."""
    amount = stated_cost_usd(told)
    assert amount == (None if cost is None else Decimal(cost))
    assert len(f"{amount or Decimal(0):f}") < 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*OPENAI, *ANTHROPIC, *THOUGHT]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_told_is_a_usage_or_none(told: Any) -> None:
    """Parts are never more than the whole, and nothing is negative or unbounded."""
    usage = usage_of(told)
    stated_cost_usd(told)
    if usage is not None:
        assert 0 <= usage.cached_tokens <= usage.input_tokens <= 10**7
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= 10**7
