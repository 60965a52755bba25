"""The environment as one object: its names, its defaults, and where a value comes from."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from docsluice_consumer.settings import Settings, load_settings, variable_of
from tests.fakes.environment import KEY, problems_of


def test_the_defaults() -> None:
    """What others script against, as the documentation pins it."""
    settings = load_settings()
    assert settings.model_dump(exclude={"openai_api_key"}, exclude_none=True) == {
        "kafka_bootstrap_servers": "localhost:9092",
        "kafka_security_protocol": "PLAINTEXT",
        "group_id": "docsluice",
        "input_topic": "documents",
        "result_topic": "documents.results",
        "dead_letter_topic": "documents.dlq",
        "topic_partitions": -1,
        "delivery": "exactly_once",
        "unknown_commit_map": "refuse",
        "ordering": "unordered",
        "model": "gpt-4o-mini",
        "max_concurrency": "16",
        "request_timeout_seconds": 60.0,
        "max_attempts": 5,
        "dead_letter_max_ratio": 0.5,
        "dead_letter_max_consecutive": 100,
        "dead_letter_answer": True,
        "max_open_records_per_partition": 256,
        "max_open_bytes": 134217728,
        "max_document_bytes": 8388608,
        "commit_interval_seconds": 0.5,
        "drain_seconds": 30.0,
        "state_dir": Path(".docsluice"),
        "store_optional": False,
        "store_max_bytes": 1073741824,
        "store_max_age_days": 30.0,
        "http_host": "0.0.0.0",  # noqa: S104 - the default that is documented
        "http_port": 9464,
        "log_level": "INFO",
    }


def test_the_names_of_the_variables() -> None:
    """The standard names are used where there are any. All others have our prefix."""
    variables = {field: variable_of(field) for field in Settings.model_fields}
    assert variables["openai_api_key"] == "OPENAI_API_KEY"
    assert variables["openai_base_url"] == "OPENAI_BASE_URL"
    assert variables["kafka_bootstrap_servers"] == "KAFKA_BOOTSTRAP_SERVERS"
    assert variables["kafka_sasl_password"] == "DOCSLUICE_KAFKA_SASL_PASSWORD"
    assert variables["model"] == "DOCSLUICE_MODEL"
    assert len(set(variables.values())) == len(variables)


@pytest.mark.parametrize("field", sorted(set(Settings.model_fields) - {"openai_api_key"}))
def test_every_variable_is_read(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its own name, and into its own field."""
    if field.startswith("openai_api_key_"):
        monkeypatch.delenv("OPENAI_API_KEY")
    samples: dict[str, tuple[str, Any]] = {
        "openai_base_url": ("http://localhost:1/v1", "http://localhost:1/v1"),
        "kafka_bootstrap_servers": ("a:1,b:2", "a:1,b:2"),
        "kafka_security_protocol": ("SSL", "SSL"),
        "kafka_sasl_mechanism": ("SCRAM-SHA-512", "SCRAM-SHA-512"),
        "kafka_sasl_password": ("p", SecretStr("p")),
        "schema_registry_url": ("https://r/apis/ccompat/v7", "https://r/apis/ccompat/v7"),
        "schema_registry_password": ("p", SecretStr("p")),
        "object_prefixes": ("https://a/b, file:///c/", "https://a/b, file:///c/"),
        "delivery": ("at_least_once", "at_least_once"),
        "unknown_commit_map": ("ignore", "ignore"),
        "ordering": ("unordered", "unordered"),
        "pipeline": ("p.yaml", Path("p.yaml")),
        "prices": ("q.yaml", "q.yaml"),
        "openai_api_key_file": ("/run/key", Path("/run/key")),
        "mode": ("fused", "fused"),
        "log_format": ("console", "console"),
        "log_level": ("DEBUG", "DEBUG"),
        "max_concurrency": ("auto:4..128", "auto:4..128"),
        "budget_usd_per_hour": ("1.50", Decimal("1.50")),
        "budget_usd_per_day": ("20", Decimal(20)),
        "max_cost_usd_per_document": ("0.001", Decimal("0.001")),
        "service_tier": ("flex", "flex"),
        "state_dir": ("s", Path("s")),
        "store_url": ("sqlite:///s.sqlite3", SecretStr("sqlite:///s.sqlite3")),
        "store_optional": ("true", True),
        "store_max_bytes": ("7000000", 7_000_000),
        "dead_letter_max_ratio": ("0.25", 0.25),
        "dead_letter_answer": ("false", False),
        "shared_limits_url": ("rediss://:p@r:1/2", SecretStr("rediss://:p@r:1/2")),
    }
    annotation = Settings.model_fields[field].annotation
    number = ("7", 7) if "int" in str(annotation) or "float" in str(annotation) else (f"some-{field}", f"some-{field}")
    written, expected = samples.get(field, number)
    if "sasl" in field:  # which is set as a whole or not at all
        for name, value in (("SECURITY_PROTOCOL", "SASL_SSL"), ("SASL_USERNAME", "u"), ("SASL_PASSWORD", "w")):
            monkeypatch.setenv(f"DOCSLUICE_KAFKA_{name}", value)
    if field.startswith("schema_registry"):  # of which none is used without the address, and no half of credentials
        for name, value in (("URL", "https://r"), ("USERNAME", "u"), ("PASSWORD", "w")):
            monkeypatch.setenv(f"DOCSLUICE_SCHEMA_REGISTRY_{name}", value)
    if "ssl" in field:
        monkeypatch.setenv("DOCSLUICE_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv(variable_of(field), written)
    assert getattr(load_settings(), field) == expected


def test_what_is_just_within_the_bounds() -> None:
    """The last port, servers without one, and the longest group."""
    settings = load_settings({"kafka_bootstrap_servers": "a:65535, b,[::1]:1", "group_id": "g" * 255})
    assert settings.kafka_bootstrap_servers == "a:65535, b,[::1]:1"
    assert len(settings.group_id) == 255


def test_spaces_round_a_value_are_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key from a mounted secret ends in a newline, which no header may hold."""
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("DOCSLUICE_MODEL", " m ")
    settings = load_settings()
    assert settings.openai_api_key is not None
    assert (settings.openai_api_key.get_secret_value(), settings.model) == (KEY, "m")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and charts pass on what is not set as empty."""
    for field in Settings.model_fields:
        if field != "openai_api_key":
            monkeypatch.setenv(variable_of(field), "")
    settings = load_settings()
    assert settings.model == "gpt-4o-mini"
    assert settings.requests_per_minute is None
    assert settings.openai_base_url is None


def test_the_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is given on the command line wins over both, under standard names too."""
    monkeypatch.delenv("OPENAI_API_KEY")
    Path(".env").write_text(
        "OPENAI_API_KEY=from-file\nDOCSLUICE_MODEL=file\nDOCSLUICE_GROUP_ID=file\n"
        "OPENAI_BASE_URL=http://file\nKAFKA_BOOTSTRAP_SERVERS=file:1\nDOCSLUICE_INPUT_TOPIC=file\n"
    )
    monkeypatch.setenv("DOCSLUICE_MODEL", "environment")
    monkeypatch.setenv("DOCSLUICE_GROUP_ID", "environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://environment")
    settings = load_settings(
        {"group_id": "override", "openai_base_url": "http://override", "kafka_bootstrap_servers": "override:1"}
    )
    assert settings.openai_api_key == SecretStr("from-file")
    assert settings.input_topic == "file"
    assert settings.model == "environment"
    assert settings.group_id == "override"
    assert settings.openai_base_url == "http://override"
    assert settings.kafka_bootstrap_servers == "override:1"


def test_an_env_file_that_cannot_be_read() -> None:
    """One line for that too."""
    Path(".env").write_bytes(b"\xff\x00")
    assert problems_of() == [".env: not valid UTF-8 at byte 0"]


def test_settings_do_not_change() -> None:
    """Read once, at the start."""
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().model = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("concurrency", "records"), [("1", 1024), ("64", 1024), ("auto:4..200", 1600), ("1000", 2048)])
def test_open_records_follow_the_calls_in_flight(concurrency: str, records: int) -> None:
    """More would take memory, and no call could go out earlier."""
    base = {"openai_base_url": "http://model/v1", "max_concurrency": concurrency}
    assert load_settings(base).most_open_records == records
    assert load_settings({**base, "max_open_records": "7"}).most_open_records == 7
