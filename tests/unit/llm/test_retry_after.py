"""When a provider says that a call may come again."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.errors import AttemptFailed
from docsluice_consumer.llm.retry_after import retry_after_seconds
from tests.fakes.sdk_errors import NOW, said_by, status_error, translation_of


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after": " 20 "}, 20),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"retry-after": (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S -0000")}, 90),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0),
        ({"retry-after": "in a while"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "86400"}, 3600),
        ({"retry-after": "1e400"}, 3600),
        ({"retry-after": "inf"}, 3600),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "1893456000"}, 3600),
        ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, None),
        ({"retry-after": "Mon, 01 Jan 2029 00:00:00 +99999999999999"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds, seconds or a date. An hour at most, and nothing that would wait for ever."""
    assert retry_after_seconds(httpx2.Headers(headers), now=NOW) == seconds


SOON, LATE = NOW.timestamp() + 42, NOW.timestamp() - 42


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{SOON * 1000:.0f}"}, 42),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{SOON:.0f}"}, 42),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "42"}, 42),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "42s"}, 42),
        ({"retry-after": "7", "ratelimit-remaining": "0", "ratelimit-reset": "42"}, 7),
        ({"ratelimit-remaining": "3", "ratelimit-reset": "42"}, None),
        ({"ratelimit-reset": "42"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "later"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "0"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{LATE:.0f}"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{SOON + 1e6:.0f}"}, 3600),
    ],
    ids=str,
)
def test_when_a_used_up_limit_is_whole_again(headers: dict[str, str], seconds: float | None) -> None:
    """Where nothing else says when. A time that has passed says nothing: clocks differ."""
    assert retry_after_seconds(httpx2.Headers(headers), now=NOW) == (seconds and pytest.approx(seconds, abs=1))


@given(st.text(st.characters(codec="ascii")), st.text(st.characters(codec="ascii")))
def test_any_retry_after_is_a_time_or_nothing(after: str, after_ms: str) -> None:
    """A header that a server makes up cannot stop the service."""
    seconds = retry_after_seconds({"retry-after": after, "retry-after-ms": after_ms}, now=NOW)
    assert seconds is None or 0 <= seconds <= 3600


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ([{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": [RETRY_INFO]}}], 34),
        ([{"error": {"code": 429, "message": "x", "details": [{"retryDelay": "34.074824224s"}]}}], 34.074824224),
        (said_by("Rate limit reached. Please try again in 7.66s. Visit the site."), 7.66),
        (said_by("Please try again in 1m2s."), 62),
        (said_by("Please try again in 12m3.5s. Need more tokens?"), 723.5),
        (said_by("Please try again in 250ms."), 0.25),
        (said_by("Please retry after 20 seconds."), 20),
        (said_by("Please retry in 45.578569677s."), 45.578569677),
        (said_by("Try again in 2 minutes, 5 seconds"), 125),
        (said_by("Please wait 3 sec before retrying."), 3),
        (said_by("Please try again in 24h0m0s."), 3600),
        (said_by("Please try again in a while."), None),
        (said_by("Limit 20, used 20 in 60s."), None),
        ({"error": {"message": "x", "metadata": {"retry_after_seconds": 12}}}, 12),
        (said_by("x", retry_after="soon"), None),
        (
            said_by(
                "x", metadata={"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{int(SOON * 1000)}"}}
            ),
            42,
        ),
        (
            said_by(
                "x", metadata={"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{int(LATE * 1000)}"}}
            ),
            None,
        ),
        ({"error": "Model x is currently loading", "estimated_time": 20.5}, 20.5),
        (said_by("Rate limit of 15 per 60s exceeded. Please wait 33 seconds before retrying."), 33),
    ],
    ids=str,
)
def test_retry_after_in_the_body(body: Any, seconds: float | None) -> None:
    """In a field, or in the provider's words. A header goes before both."""
    fault = translation_of(status_error(429, body))
    assert isinstance(fault, AttemptFailed)
    assert fault.retry_after_seconds == seconds
    told = translation_of(status_error(429, body, headers={"retry-after": "1"}))
    assert isinstance(told, AttemptFailed)
    assert told.retry_after_seconds == 1


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_what_may_be_tried_again_says_when(status: int) -> None:
    """Retry-After is passed on, for a rate limit and for a server that is overloaded."""
    fault = translation_of(status_error(status, said_by(), headers={"retry-after": "7"}))
    assert isinstance(fault, AttemptFailed)
    assert fault.retry_after_seconds == 7
