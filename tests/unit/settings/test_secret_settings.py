"""Secrets among the settings are shown nowhere, not even when they are wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from docsluice.text.api_keys import problem_of_key
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.settings import load_settings
from tests.fakes.environment import KEY, PASSWORD, problems_of


@pytest.mark.parametrize("url", ["redis://host", "redis://user:hunter2-secret@host:6379/0", "rediss://host/?timeout=1"])
def test_where_limits_are_shared_is_a_secret(url: str) -> None:
    """It may hold a password, so it is shown nowhere."""
    settings = load_settings({"shared_limits_url": url})
    assert settings.shared_limits_url == SecretStr(url)
    assert url not in repr(settings)


def test_secrets_are_not_shown() -> None:
    """Not in the settings' own text, in whatever form it is asked for."""
    settings = load_settings(
        {"kafka_sasl_password": PASSWORD, "kafka_sasl_username": "u", "kafka_security_protocol": "SASL_SSL"}
    )
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert KEY not in text
        assert PASSWORD not in text


@pytest.mark.parametrize("field", ["openai_api_key", "kafka_sasl_password", "schema_registry_password"])
def test_a_secret_that_is_wrong_is_not_shown(field: str) -> None:
    """Not even when it is what is wrong."""
    problems = problems_of({field: [KEY], "http_port": KEY, "mode": PASSWORD})
    assert len(problems) == 3
    assert not re.search("secret", " ".join(problems))


@given(st.text(min_size=1).map(str.strip).filter(bool) | st.text("sk-,; \"'abc\u200b\u2013", min_size=1))
def test_any_key_can_be_sent_or_is_told_by_its_kind(key: str) -> None:
    """A key that passes fits a header. Of one that does not, the message holds nothing."""
    problem = problem_of_key(key)
    if problem is None:
        assert key.encode("ascii").decode().isprintable()
        assert " " not in key
    else:
        assert problem.isascii()
        assert len(key) < 4 or key not in problem


@pytest.mark.parametrize("rest", ["?key=SECRET", "?a=b&access_token=SECRET", "#SECRET"])
def test_the_default_providers_address_holds_no_key(rest: str) -> None:
    """It would stand in the lines of `check`."""
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL: must") as caught:
        load_settings({"openai_base_url": f"http://localhost:1/v1{rest}"})
    assert "SECRET" not in str(caught.value)
