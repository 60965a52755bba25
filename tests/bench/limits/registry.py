"""All rows of the table, by their names, in the order in which they are shown."""

from __future__ import annotations

from tests.bench.limits.rows import (
    of_a_budget,
    of_a_knee,
    of_a_stricter_provider,
    of_one_limit,
    of_outages,
    of_replicas,
    of_shared_limits,
)

ROWS = {
    row.name: row
    for row in (
        *of_one_limit.ROWS,
        *of_a_stricter_provider.ROWS,
        *of_outages.ROWS,
        *of_replicas.ROWS,
        *of_shared_limits.ROWS,
        *of_a_budget.ROWS,
        *of_a_knee.ROWS,
    )
}
