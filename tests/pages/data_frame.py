"""docs/how-to/results-in-a-data-frame.md."""

from datetime import UTC, datetime, timedelta

import docsluice


def spending() -> None:
    frame = docsluice.read_results()
    print(frame.groupby("category")["cost_usd"].sum())


def last_day() -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    frame = docsluice.read_results(as_="polars", from_=yesterday)
    print(frame.select("document_id", "category", "metadata.customer"))
