"""How long documents took, in little memory. Pure."""

import math
from collections import Counter

_STEP = 1.05
"""Between the bounds of neighbouring classes. A quantile is right within this factor."""
_LEAST_SECONDS = 0.001


class Durations:
    """Counts seconds in classes that grow by a twentieth. Ten years are 520 classes."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one. Less than a millisecond, as between clocks that differ, counts as one."""
        self._counts[math.floor(math.log(max(seconds, _LEAST_SECONDS), _STEP))] += 1

    def quantile(self, share: float) -> float | None:
        """The seconds that this share did not exceed, within a twentieth. None without any."""
        wanted, passed = share * self._counts.total(), 0
        for place in sorted(self._counts):
            passed += self._counts[place]
            if passed >= wanted:
                return float(_STEP ** (place + 0.5))
        return None
