"""Words with facts in them: `Limit ${limit}, Used ${used}`. Pure."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

_FACT = re.compile(r"\$\{(\w+)\}")

SAMPLE_FACTS: Mapping[str, str | int] = MappingProxyType(
    {
        "model": "some-model",
        "limit": 6000,
        "used": 5034,
        "requested": 1443,
        "wait_seconds": 5,
        "wait": "4.77s",
        "context_tokens": 8192,
        "prompt_tokens": 9001,
        "max_output_tokens": 1024,
        "total_tokens": 10025,
        "day_ends_at_milliseconds": 1_900_000_000_000,
    }
)
"""Every fact that an error may tell, each with a value to show it by."""


def facts_in(value: Any) -> set[str]:
    """The names of the facts in a JSON value."""
    return {name for text in _texts(value) for name in _FACT.findall(text)}


def fill(value: Any, facts: Mapping[str, str | int]) -> Any:
    """The same JSON value with its facts filled in. A string that is one fact and nothing else becomes that fact."""
    if isinstance(value, dict):
        return {str(fill(name, facts)): fill(each, facts) for name, each in value.items()}
    if isinstance(value, list):
        return [fill(each, facts) for each in value]
    if not isinstance(value, str):
        return value
    if (whole := _FACT.fullmatch(value)) and whole[1] in facts:
        return facts[whole[1]]
    return _FACT.sub(lambda found: str(facts.get(found[1], found[0])), value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(name)
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
