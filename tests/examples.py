"""How many examples a property is tried with: all of them, or a tenth in `make test-fast`.

Read before the tests clear the environment of every DOCSLUICE_ variable.
"""

from __future__ import annotations

import os

_IS_FAST = os.environ.get("DOCSLUICE_FEW_EXAMPLES") == "1"
_FEWEST = 3


def examples(number: int) -> int:
    """Of so many examples, those to try now."""
    return min(number, max(_FEWEST, number // 10)) if _IS_FAST else number
