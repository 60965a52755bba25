"""docs/how-to/subscribe-from-python.md."""

from datetime import UTC, datetime, timedelta

import docsluice


async def index() -> None:
    async for result in docsluice.results(group_id="search-index"):
        print(result.document_id, result.outputs["summary"], result.cost_usd)


async def replay_an_hour() -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    async with docsluice.results(from_=an_hour_ago, idle_seconds=5) as results:
        async for result in results:
            position = result.record.position
            print(result.document_id, f"{position.topic}/{position.partition}@{position.offset}")
        print(f"{results.repeats} repeats, {results.skipped} unreadable records")


async def handle_ten() -> None:
    handled = 0
    async with docsluice.results(from_="earliest", group_id="ten-at-a-time") as results:
        async for result in results:
            print(result.document_id)
            handled += 1
            if handled == 10:
                await results.commit()  # or the tenth comes again
                break


async def watch_failures() -> None:
    async for letter in docsluice.dead_letters(group_id="on-call"):
        if letter.reason == docsluice.DeadLetterReason.TOO_LARGE:
            print(f"{letter.document_id}: {letter.message}")
