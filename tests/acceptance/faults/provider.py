"""The rehearsal provider's back door, from outside its process."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A rehearsal provider that runs as a process of its own.

    Everything raises OSError while its port is closed.
    """

    base_url: str

    async def calls(self) -> list[dict[str, Any]]:
        """Its call log, oldest first."""
        log = await self._ask("GET", "calls")
        calls: list[dict[str, Any]] = log["calls"]
        return calls

    async def counts(self) -> dict[str, Any]:
        """How many calls there were, are in flight, and have ended with each status."""
        return await self._ask("GET", "counts")

    async def release(self) -> None:
        """Answer what is held."""
        await self._ask("DELETE", "holds")

    async def begin_outage(self, outage: str, *, seconds: float) -> None:
        """Let every call meet this fault for so long."""
        await self._ask("POST", "faults", {"outage": outage, "seconds": seconds})

    async def _ask(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            self.base_url.removesuffix("/v1") + f"/rehearsal/{what}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        return await asyncio.to_thread(_answer, request)


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
