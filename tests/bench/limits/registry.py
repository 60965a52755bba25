"""All rows of the table, by their names, in the order in which they are shown."""

from __future__ import annotations

from tests.bench.limits.rows import of_one_limit

ROWS = {row.name: row for row in (*of_one_limit.ROWS,)}
