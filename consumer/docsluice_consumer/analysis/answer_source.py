"""The seam between a step's question and its answer, whether that comes in a second or in hours."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Protocol

from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.llm.chat import Answer, ChatRequest


class AnswerSource(Protocol):
    """Answers requests. `ModelCaller` calls models at once. Another source may hand requests in and wait elsewhere."""

    def answer(self, request: ChatRequest, document_usage: DocumentUsage) -> AbstractAsyncContextManager[Answer]:
        """Yield the answer, however long it takes. What it took is added up before.

        The answer may be forgotten by its source once the block has ended: keep it inside.

        Raises:
            RecordRejected: the document is to blame, or its attempts are used up.
            ServiceFault: there will be no answer to any request.
        """
        ...

    def expected_cost_usd(self, request: ChatRequest) -> Decimal:
        """The cost of one answer in US dollars, as far as it is known beforehand. 0 if it is not."""
        ...

    def room_bytes(self, request: ChatRequest) -> int | None:
        """The largest input that such a request may have. None if no limit is known."""
        ...

    def likely_fits(self, request: ChatRequest) -> bool:
        """Whether the request is likely small enough for one answer."""
        ...
