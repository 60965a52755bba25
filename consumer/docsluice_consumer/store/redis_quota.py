"""The limits a minute of one account, counted in Redis for all of its replicas."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from docsluice_consumer.store.redis_connection import Allowance, redis_at
from docsluice_consumer.store.redis_errors import why
from docsluice_consumer.store.step_store import NotBelieved
from docsluice_consumer.store.stored_values import grant_of

LEASE_SECONDS = 3.0
"""How long a replica's share belongs to all replicas after Redis last heard of it."""
_MOST_ANSWER_BYTES = 1024 * 1024
_PREFIX = "docsluice"
_OPENAI = "https://api.openai.com/v1"
_SCRIPT = Path(__file__).with_suffix(".lua")


class LimitsAway(Exception):
    """Redis does not answer as it should. The message says why. What was sent may have been counted or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A claim on one limit: the limit for all, and the units that are wanted, needed at least, and returned."""

    per_minute: float
    wanted: float
    needed: float
    returned: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """Granted units, and the seconds after which to claim again what is still needed. 0 if nothing is."""

    amount: float
    wait_seconds: float


def account_of(*, base_url: str | None, api_key: str | None) -> str:
    """A name of the account that all its users share, and that does not tell the key."""
    secret = f"{(base_url or _OPENAI).rstrip('/')}\n{api_key or ''}"
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


class RedisQuota:
    """One replica's client for the limits of an account. Buckets hold at most `burst_seconds` of a limit.

    Needs the package `redis`. The URL may hold a password, and no error raised here quotes it.
    """

    def __init__(self, *, url: str, account: str, burst_seconds: float) -> None:
        self._allowance = Allowance(_MOST_ANSWER_BYTES)
        self._redis = redis_at(url, allowance=self._allowance, decode_responses=True)
        self._script = self._redis.register_script(_SCRIPT.read_text(encoding="utf-8"))
        self._account = f"{_PREFIX}:{{{account}}}"  # braces: a cluster keeps what has one account together
        self._member = uuid.uuid4().hex
        self._burst_seconds = burst_seconds

    async def exchange(self, asked: Mapping[str, Asked], *, share: float) -> Mapping[str, Granted]:
        """Renew our share of the limits, give back what is returned, and take what there is of what is wanted.

        Raises:
            LimitsAway: it is unknown how much of it was done.
        """
        keys = [f"{self._account}:members"]
        arguments: list[str | float] = [self._member, share, LEASE_SECONDS, self._burst_seconds]
        for name, of_one in asked.items():
            keys += [f"{self._account}:{name}", f"{self._account}:{name}:queue"]
            arguments += [of_one.per_minute, of_one.wanted, of_one.needed, of_one.returned]
        try:
            async with self._allowance.exchange():
                answers = await self._script(keys=keys, args=arguments)
            return _granted(asked, answers)
        except NotBelieved as problem:
            raise LimitsAway(f"it answers with {problem}") from None
        except Exception as error:  # noqa: BLE001 - whatever comes of it is Redis' fault, or that of the way to it
            raise LimitsAway(why(error)) from None

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()


def _granted(asked: Mapping[str, Asked], answers: object) -> Mapping[str, Granted]:
    """What was granted of each limit.

    Raises:
        NotBelieved: the answer is missing or impossible.
    """
    if not isinstance(answers, list) or len(answers) != 2 * len(asked):
        raise NotBelieved("something else than grants")
    pairs = zip(answers[::2], answers[1::2], strict=True)
    granted = {}
    for (name, of_one), (amount, seconds) in zip(asked.items(), pairs, strict=True):
        units, wait_seconds = grant_of(amount, seconds, wanted=of_one.wanted)
        granted[name] = Granted(amount=units, wait_seconds=wait_seconds)
    return granted
