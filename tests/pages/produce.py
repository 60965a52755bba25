"""docs/how-to/produce-from-python.md."""

import asyncio
from collections.abc import AsyncIterator

import docsluice


async def send_one() -> None:
    async with docsluice.DocumentProducer() as producer:
        position = await producer.send(
            document_id="invoice-17",
            text="Invoice 17 over 120 dollars is due on Friday.",
            metadata={"customer": "acme", "pages": 3},
        )
        print(f"written to {position.topic}/{position.partition}@{position.offset}")


async def pages() -> AsyncIterator[docsluice.DocumentEvent]:
    for number in range(1, 4):
        await asyncio.sleep(0)  # as a database or a web site is asked
        yield docsluice.DocumentEvent(document_id=f"page-{number}", text=f"This is page {number}.")


async def send_many() -> None:
    async with docsluice.DocumentProducer() as producer:
        count = await producer.send_many(pages(), in_flight=500)
        print(f"{count} documents are written")


async def send_all_or_none() -> None:
    async with docsluice.DocumentProducer(transactional_id="nightly-import") as producer, producer.transaction():
        await producer.send_many(pages())


def send_from_a_script() -> None:
    docsluice.send_documents([{"document_id": "memo-1", "text": "The office is closed on Monday."}])


async def tell_what_is_wrong() -> None:
    async with docsluice.DocumentProducer() as producer:
        try:
            await producer.send(document_id="d1", text=" ")
        except docsluice.InvalidDocument as problem:
            print(problem)  # document 'd1': text: must not be blank
