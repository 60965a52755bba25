"""docs/how-to/produce-from-python.md."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

import docsluice


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with docsluice.DocumentProducer() as producer:
        app.state.producer = producer
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/documents", status_code=202)
async def accept(document: docsluice.DocumentEvent, request: Request) -> docsluice.SourcePosition:
    producer: docsluice.DocumentProducer = request.app.state.producer
    try:
        return await producer.send(document)
    except docsluice.DocumentTooLarge as problem:
        raise HTTPException(413, str(problem)) from None
    except docsluice.BrokerAway as problem:
        raise HTTPException(503, str(problem)) from None
