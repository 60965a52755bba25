"""The ways in which a provider fails, and their causes: a marker in a document, a rate, or an outage.

A document that holds `[[rehearse:refusal]]` is refused each time. With `[[rehearse:500x2]]` its first two calls fail
and the third passes. Several markers follow one another: `[[rehearse:500x2]] [[rehearse:hang]]`. Calls are counted for
each text and task apart. `[[rehearse:refusal@keywords]]` is a marker for the calls of one task alone.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import chain, repeat
from typing import TypeAlias

from docsluice_local.rehearsal.characters.character import Character, ErrorKind

_MARKER = re.compile(r"\[\[rehearse:([a-z0-9_]+?)(?:x(\d+))?(?:@([a-z0-9_]+))?\]\]")


class Fault(StrEnum):
    """One way to fail. The value is its name in markers, in rates and in the call log."""

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
    """No answer, ever. The client has to give up."""
    RESET = "reset"
    """The connection breaks after the request was read."""
    HOLD = "hold"
    """A good answer, but not before the tester releases it. See `outages`."""
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


Trouble: TypeAlias = Fault | ErrorKind
"""A fault of any provider, or an error as the character that is played tells it."""


class UnknownFaultError(ValueError):
    """A marker or a rate names a fault that does not exist, or an error that the character is not known to give.

    `problem` is the message without the faults that there are. Their names are codes of real errors, which a client
    would take an answer for.
    """

    def __init__(self, name: str, character: Character | None = None) -> None:
        known = ", ".join([*Fault, *(character.kinds if character else ())])
        if name not in list(ErrorKind):
            self.problem = f"no fault is called {name!r}"
        elif character is None:
            self.problem = f"{name!r} is told differently by every provider, so it needs --character"
        else:
            self.problem = f"{character.name} is not known to answer {name!r}"
        super().__init__(f"{self.problem}; there are {known}")


def fault_named(name: str, character: Character | None = None) -> Trouble:
    """The fault of that name, or the kind of error where the character has one.

    Raises:
        UnknownFaultError: there is none.
    """
    known: dict[str, Trouble] = {fault.value: fault for fault in Fault}
    known |= {kind.value: kind for kind in (character.kinds if character else ())}
    if name not in known:
        raise UnknownFaultError(name, character)
    return known[name]


def marked_fault(text: str, *, call_number: int, task: str = "", character: Character | None = None) -> Trouble | None:
    """The fault that the markers in `text` ask for on its `call_number`-th call of a task, counted from 1.

    Raises:
        UnknownFaultError: a marker names no fault.
    """
    script: Iterator[Trouble] = chain.from_iterable(
        repeat(fault_named(name, character), int(times)) if times else repeat(fault_named(name, character))
        for name, times, of_task in _MARKER.findall(text)
        if of_task in {"", task}
    )
    return next((fault for number, fault in enumerate(script, start=1) if number == call_number), None)


def is_marked(text: str) -> bool:
    """Whether the text holds a marker."""
    return "[[rehearse:" in text


def drawn_fault(rates: Mapping[Trouble, float], *, quantile: float) -> Trouble | None:
    """The fault that a call with this random number in (0, 1) meets when faults come at these rates."""
    threshold = 0.0
    for fault, rate in rates.items():
        threshold += rate
        if quantile < threshold:
            return fault
    return None
