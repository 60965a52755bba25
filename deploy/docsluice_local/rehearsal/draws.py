"""A call's random numbers, drawn from the call itself: equal calls are treated equally, in whatever order they come."""

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist

_STANDARD_NORMAL = NormalDist()
_BITS = 52  # so that half a step below 1 is still a float below 1


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Two independent numbers in (0, 1) and a seed for the answer."""

    latency_quantile: float
    fault_quantile: float
    answer_seed: int


def draw(*, seed: int, content: bytes, attempt: int) -> Draw:
    """The random numbers of the `attempt`-th call with this content."""
    digest = hashlib.blake2b(content, digest_size=24, salt=_eight(seed) + _eight(attempt)).digest()
    return Draw(
        latency_quantile=_quantile(digest[:8]),
        fault_quantile=_quantile(digest[8:16]),
        answer_seed=int.from_bytes(digest[16:]),
    )


def lognormal_seconds(*, median_seconds: float, sigma: float, quantile: float) -> float:
    """The latency below which a share of `quantile` of all calls stay."""
    return median_seconds * math.exp(sigma * _STANDARD_NORMAL.inv_cdf(quantile))


def _quantile(eight: bytes) -> float:
    return ((int.from_bytes(eight) >> (64 - _BITS)) + 0.5) / 2.0**_BITS


def _eight(number: int) -> bytes:
    return (number % 2**64).to_bytes(8)
