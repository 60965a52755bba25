"""Shared parts of the commands' flags: kinds of values, and the form of the help."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import urlsplit

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from docsluice.cli.usage import one_at_most
from docsluice.network.urls import checked_topic

_DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
T = TypeVar("T")


def duration(text: str) -> timedelta:
    """A length of time: 30s, 10m, 2h, 1d.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is no duration such as 30s, 10m, 2h or 1d")
    return timedelta(**{_DURATION_UNITS[found[2]]: int(found[1])})


def _url(text: str) -> str:
    """The URL of a page that answers over HTTP."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of brackets, or of a port
        fits = False
    if not fits or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(f"{text!r} is no URL such as http://localhost:9464/metrics")
    return text


def one(read: Callable[[str], T]) -> Callable[[Any, Any], T]:
    """Make a converter of a function that reads one value, and raises ValueError where it cannot."""
    return lambda _type, tokens: read(tokens[0].value)


def _topic(text: str) -> str:
    try:
        return checked_topic(text)
    except ValueError as problem:
        raise ValueError(f"{text!r} {problem}") from None


def _each(read: Callable[[str], T]) -> Callable[[Any, Any], tuple[T, ...]]:
    return lambda _type, tokens: tuple(read(token.value) for token in tokens)


Count = Annotated[int, Parameter(metavar="N", validator=Number(gte=1, lt=10**18))]
Seconds = Annotated[float, Parameter(metavar="S", validator=Number(gte=0, lt=10**9))]
Age = Annotated[timedelta, Parameter(metavar="AGE", converter=one(duration))]
Urls = Annotated[tuple[str, ...], Parameter(metavar="URL", converter=_each(_url))]
Name = Annotated[str, Parameter(metavar="NAME")]
Names = Annotated[tuple[str, ...], Parameter(metavar="NAME", converter=_each(str))]
Topic = Annotated[str, Parameter(metavar="NAME", converter=one(_topic))]
Topics = Annotated[tuple[str, ...], Parameter(metavar="NAME", converter=_each(_topic))]
WrittenPath = str | Path
"""A path, or `-`, as it was written. Of the two the string is taken. For the other, the shell completes files."""
AsJson = Annotated[bool, Parameter(name="--json")]


def in_groups(*titles: str) -> Iterator[Parameter]:
    """A mark for the flags of each group, in the order in which `--help` has them."""
    return (Parameter(group=Group(title, sort_key=place)) for place, title in enumerate(titles))


def choose_one(group: Parameter) -> Parameter:
    """A mark for flags of a group that are refused beside each other."""
    return Parameter(group=(*cast("tuple[Group]", group.group), Group(validator=one_at_most)))
