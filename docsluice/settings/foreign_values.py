"""Values of the environment that another program has put there, or put marks around. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_IN_QUOTES = re.compile(r"""(["']).*\1""", re.DOTALL)
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://[^/]*:\d+")


def foreign_values(environment: Mapping[str, str], names: Collection[str]) -> list[str]:
    """A sentence for each of the named variables whose value nobody has meant so. None holds the value."""
    return [
        f"{name}: {problem}"
        for name, value in environment.items()
        if name.upper() in names and (problem := _problem(name, value.strip()))
    ]


def _problem(name: str, value: str) -> str | None:
    if _IN_QUOTES.fullmatch(value):
        return "is in quotes, which docker run --env-file and lists in Compose keep; write it without"
    if name.upper().endswith("_PORT") and _SERVICE_LINK.fullmatch(value):
        return "was set by Kubernetes for a service of that name; set it, or enableServiceLinks: false"
    return None
