"""The ways in which a provider fails, and who asks for them: a marker in a document, a rate, or an outage.

A document that holds `[[rehearse:refusal]]` is refused each time; with `[[rehearse:500x2]]` its first two calls fail
and the third passes. Several markers follow one another: `[[rehearse:500x2]] [[rehearse:hang]]`. Calls are counted for
each text and task apart; `[[rehearse:refusal@keywords]]` is a marker for the calls of one task alone.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import chain, repeat

_MARKER = re.compile(r"\[\[rehearse:([a-z0-9_]+?)(?:x(\d+))?(?:@([a-z0-9_]+))?\]\]")


class Fault(StrEnum):
    """One way to fail; the value is its name in markers, in rates and in the call log."""

    RATE_LIMITED = "429"
    RATE_LIMITED_BARE = "429_bare"
    """Rate limited without a word on when to come back."""
    INSUFFICIENT_QUOTA = "insufficient_quota"
    REQUEST_TOO_LARGE = "request_too_large"
    """A 429 that can never pass: the request alone is more than a minute's limit."""
    INTERNAL_ERROR = "500"
    BAD_GATEWAY = "502"
    OVERLOADED = "503"
    HANG = "hang"
    """No answer, ever; the client has to give up."""
    RESET = "reset"
    """The connection breaks after the request was read."""
    HOLD = "hold"
    """A good answer, but not before the tester lets go of it; see `outages`."""
    TRUNCATED = "truncated"
    """Half of the answer, finish reason `length`."""
    INVALID_JSON = "invalid_json"
    WRONG_SCHEMA = "wrong_schema"
    REFUSAL = "refusal"
    CONTENT_FILTER = "content_filter"
    """An empty answer, finish reason `content_filter`."""
    CONTENT_FILTER_REJECTED = "content_filter_400"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    BAD_KEY = "401"
    MODEL_NOT_FOUND = "404"


class UnknownFaultError(ValueError):
    """A marker or a rate names a fault that does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no fault is called {name!r}; there are {', '.join(Fault)}")


def fault_named(name: str) -> Fault:
    """The fault of that name.

    Raises:
        UnknownFaultError: there is none.
    """
    try:
        return Fault(name)
    except ValueError:
        raise UnknownFaultError(name) from None


def marked_fault(text: str, *, call_number: int, task: str = "") -> Fault | None:
    """The fault that the markers in `text` ask for on its `call_number`-th call of a task, counted from 1.

    Raises:
        UnknownFaultError: a marker names no fault.
    """
    script: Iterator[Fault] = chain.from_iterable(
        repeat(fault_named(name), int(times)) if times else repeat(fault_named(name))
        for name, times, of_task in _MARKER.findall(text)
        if of_task in {"", task}
    )
    return next((fault for number, fault in enumerate(script, start=1) if number == call_number), None)


def is_marked(text: str) -> bool:
    """Whether the text holds a marker."""
    return "[[rehearse:" in text


def drawn_fault(rates: Mapping[Fault, float], *, quantile: float) -> Fault | None:
    """The fault that a call with this random number in (0, 1) meets when faults come at these rates."""
    threshold = 0.0
    for fault, rate in rates.items():
        threshold += rate
        if quantile < threshold:
            return fault
    return None
