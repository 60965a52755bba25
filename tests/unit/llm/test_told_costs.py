"""A failed call that came as a 200 says what it has used and cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from docsluice.messages import Usage
from docsluice_consumer.errors import AnswerUnreadable, AttemptFailed, ProviderUnavailable, RateLimited
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import StaticKey
from docsluice_consumer.llm.provider import Provider
from tests.fakes.one_answer import one_answer
from tests.fakes.samples import chat_request

USAGE = {"prompt_tokens": 900, "completion_tokens": 70, "total_tokens": 970, "cost": 0.25}
ERROR = {"code": 502, "message": "the provider behind it is down"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": ERROR}, ProviderUnavailable),
        ({"error": {"code": 429, "message": "slow down"}}, RateLimited),
        ({"object": "error", "message": "no", "code": 500}, ProviderUnavailable),
        ({"choices": [{"error": ERROR, "finish_reason": "error"}]}, ProviderUnavailable),
        ({"choices": [{"message": {"content": "Half an"}, "finish_reason": "error"}]}, ProviderUnavailable),
        ({"choices": []}, AnswerUnreadable),
        ({"choices": [{"delta": {}}]}, AnswerUnreadable),
    ],
    ids=str,
)
async def test_a_failure_inside_a_200_says_what_it_has_used_and_cost(body: Any, kind: type[AttemptFailed]) -> None:
    """Wherever the failure stands."""
    async with one_answer(status=200, body={**body, "usage": USAGE}) as base_url:
        provider = Provider(base_url=base_url, credentials=StaticKey("sk-verysecret"), request_timeout_seconds=20.0)
        client = OpenAIChatClient(provider=provider, max_connections=1)
        try:
            with pytest.raises(kind) as raised:
                await client.ask(chat_request())
        finally:
            await client.close()
    fault = raised.value
    assert isinstance(fault, AttemptFailed)
    assert fault.usage == Usage(input_tokens=900, output_tokens=70)
    assert fault.stated_cost_usd == Decimal("0.25")
