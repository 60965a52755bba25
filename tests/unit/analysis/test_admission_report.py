"""What the log says of a model that is held back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from docsluice_consumer.analysis.admission_report import AdmissionReport
from docsluice_consumer.errors import (
    AttemptFailed,
    CallRefused,
    DocsluiceError,
    ProviderUnavailable,
    QuotaExhausted,
)
from docsluice_consumer.llm.error_body import read_error
from docsluice_consumer.llm.error_mapping import Call, fault_of
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.telemetry.metrics import Metrics

MODEL = model_ref("big")


def report() -> AdmissionReport:
    return AdmissionReport(metrics=Metrics(), change=asyncio.Event())


def said(reason: str, fault: DocsluiceError) -> dict[str, Any]:
    with structlog.testing.capture_logs() as logs:
        report().circuit_opened(MODEL, reason, fault)
    (entry,) = logs
    return dict(entry)


def quota(body: bytes, **headers: str) -> DocsluiceError:
    said = read_error(429, body)
    return fault_of(said, Call(step="s", model=MODEL), headers=headers, now=datetime(2030, 1, 1, tzinfo=UTC))


def test_an_open_circuit_tells_its_cause() -> None:
    """The last fault's words that are fit for a log, and never its message, which may quote the document."""
    entry = said("faults", ProviderUnavailable("the document says", cause="503 overloaded: later"))
    assert (entry["event"], entry["reason"], entry["cause"]) == ("circuit.opened", "faults", "503 overloaded: later")
    assert "status page" in entry["remedy"]
    assert "the document says" not in str(entry)


def test_refused_calls_tell_which_setting_to_look_at() -> None:
    """The remedy of the refusal names it."""
    fault = CallRefused("m", kind="credentials", remedy="the key is not accepted (OPENAI_API_KEY): 401", cause="401")
    entry = said("refusals", fault)
    assert "OPENAI_API_KEY" in entry["remedy"]
    assert entry["cause"] == "401"


def test_an_empty_account_is_to_be_paid() -> None:
    """It comes back by no waiting."""
    entry = said("quota", QuotaExhausted("m", cause="429 insufficient_quota: You exceeded your current quota"))
    assert "the account is empty: pay" in entry["remedy"]
    assert entry["cause"].startswith("429 insufficient_quota")
    assert "quota" not in entry


@pytest.mark.parametrize(
    ("words", "period"),
    [
        ("Rate limit reached on requests per day (RPD): Limit 200", "a day"),
        ("Rate limit reached on tokens per hour (TPH)", "an hour"),
        ("You have used your weekly token allowance.", "a week"),
        ("monthly quota used up", "a month"),
    ],
)
def test_a_long_quota_is_no_empty_account(words: str, period: str) -> None:
    """The log says of how long the quota is, and that it comes back by itself."""
    entry = said("quota", quota(b'{"error": {"message": "%s"}}' % words.encode()))
    assert entry["quota"] == period.rsplit(maxsplit=1)[-1]
    assert f"the quota of {period} is used up" in entry["remedy"]
    assert "account is empty" not in entry["remedy"]
    assert "the provider does not say when" in entry["remedy"]


def test_a_quota_of_which_only_the_code_tells() -> None:
    """Gemini names the quota in its details."""
    entry = said("quota", quota(b'{"error": {"details": [{"violations": [{"quotaId": "RequestsPerDay"}]}]}}'))
    assert entry["quota"] == "day"


def test_the_log_tells_when_a_quota_comes_back() -> None:
    """As the provider says. More than an hour is never believed, so then it is an hour or more."""
    day = b'{"error": {"message": "Limit on tokens per day (TPD): Limit 9"}}'
    soon = said("quota", quota(day, **{"retry-after": "1500"}))
    assert soon["back_in_seconds"] == 1500
    assert "in 25 minutes, the provider says" in soon["remedy"]
    late = said("quota", quota(day, **{"retry-after": "7200"}))
    assert "in 1 hour or more, the provider says" in late["remedy"]


def test_a_closed_circuit_has_no_cause() -> None:
    """There is none."""
    with structlog.testing.capture_logs() as logs:
        report().circuit_closed(MODEL)
    (entry,) = logs
    assert entry == {"event": "circuit.closed", "model": "big", "log_level": "warning"}


@pytest.mark.parametrize("fault", [DocsluiceError("m"), AttemptFailed("m")])
@pytest.mark.parametrize("reason", ["faults", "quota", "refusals"])
def test_each_reason_has_a_remedy(reason: str, fault: DocsluiceError) -> None:
    """Also with a fault that tells nothing."""
    assert "documents wait" in said(reason, fault)["remedy"]
