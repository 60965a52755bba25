"""The environment as one object: what is wrong is told in one line, with the variable's name and without its value."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from docsluice.settings.env_file import read_env_file
from docsluice.text.api_keys import problem_of_key
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.settings import Settings, load_settings, unknown_variables, variable_of

KEY = "sk-verysecret"
PASSWORD = "hunter2-secret"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def _problems(overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(overrides)
    assert caught.value.__cause__ is None, "its cause would quote the value"
    assert not any("\n" in problem for problem in caught.value.problems)
    return caught.value.problems


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
        "max_open_records": 2048,
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
    monkeypatch.setenv(variable_of(field), written)
    assert getattr(load_settings(), field) == expected


BAD_VALUES = [
    ("OPENAI_API_KEY", "sk-é", "holds a character that is not ASCII; copy it again"),
    ("OPENAI_API_KEY", "sk a", "holds white space inside: two keys, or a key and something else; give one key"),
    ("OPENAI_API_KEY", "sk-one\nsk-two", "holds white space inside: two keys"),
    ("OPENAI_API_KEY", "sk-one\u00a0two", "holds white space inside"),
    ("OPENAI_API_KEY", "sk-first-key,sk-other-key", "holds two keys; give one"),
    ("OPENAI_API_KEY", "Bearer sk-a", 'begins with "Bearer", which is added by itself; give the key alone'),
    ("OPENAI_API_KEY", "OPENAI_API_KEY=sk-a", "begins with the name of a variable; give the key alone"),
    ("OPENAI_API_KEY", '"sk-a"', "holds a quote mark; copy it again"),
    ("OPENAI_API_KEY", "\u201csk-a\u201d", "holds a quote mark; copy it again"),
    ("OPENAI_API_KEY", "\ufeffsk-a", "holds an invisible character; copy it again"),
    ("OPENAI_API_KEY", "sk\u2013a", "holds a long dash where a hyphen belongs; copy it again"),
    ("OPENAI_API_KEY", "sk\x00a", "holds a control character; copy it again"),
    ("OPENAI_BASE_URL", "localhost:11434/v1", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "ftp://x/v1", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://host:99999/v1", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://host:port/v1", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://[bad/v1", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://exa mple/v1", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", f"http://{'x' * 70}.example/v1", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://host/v1\x7f", "must be a URL such as http://localhost:11434/v1"),
    ("OPENAI_BASE_URL", "http://me:secret@host/v1", "must hold no user name or password"),
    ("DOCSLUICE_DRAIN_SECONDS", "1e300", "must be at most 86400"),
    ("DOCSLUICE_COMMIT_INTERVAL_SECONDS", "3600", "must be at most 60"),
    ("KAFKA_BOOTSTRAP_SERVERS", "broker:port", "must be host:port"),
    ("KAFKA_BOOTSTRAP_SERVERS", "PLAINTEXT://broker:9092", "must be host:port"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:1,,b:2", "must be host:port"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:1 b:2", "must be host:port"),
    ("DOCSLUICE_KAFKA_SECURITY_PROTOCOL", "TLS", "must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
    ("DOCSLUICE_KAFKA_SASL_MECHANISM", "GSSAPI", "must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    ("KAFKA_BOOTSTRAP_SERVERS", f"a:1,{'x' * 70}:2", "must be host:port"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a..b:1", "must be host:port"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:9092,b:65536", "a port must be 1 to 65535"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:99999", "a port must be 1 to 65535"),
    ("KAFKA_BOOTSTRAP_SERVERS", "[::1]:0", "a port must be 1 to 65535"),
    ("DOCSLUICE_GROUP_ID", "  ", "must not be empty"),
    ("DOCSLUICE_GROUP_ID", "g" * 256, "must have at most 255 characters"),
    ("DOCSLUICE_INPUT_TOPIC", "my topic", "must be 1 to 249 letters (a to z), digits"),
    ("DOCSLUICE_RESULT_TOPIC", "a/b", "must be 1 to 249 letters (a to z), digits"),
    ("DOCSLUICE_RESULT_TOPIC", "t" * 250, "must be 1 to 249 letters (a to z), digits"),
    ("DOCSLUICE_RESULT_TOPIC", "..", "must be 1 to 249 letters (a to z), digits"),
    ("DOCSLUICE_DEAD_LETTER_TOPIC", "é", "must be 1 to 249 letters (a to z), digits"),
    ("DOCSLUICE_TOPIC_PARTITIONS", "-2", "must be at least -1"),
    ("DOCSLUICE_DELIVERY", "at_most_once", "must be one of exactly_once, at_least_once"),
    ("DOCSLUICE_ORDERING", "random", "must be one of unordered, key, partition"),
    ("DOCSLUICE_MODEL", " ", "must not be empty"),
    ("DOCSLUICE_MODE", "fussed", "must be one of fanout, fused"),
    ("DOCSLUICE_MAX_CONCURRENCY", "0", "must be a whole number from 1 to 10,000"),
    ("DOCSLUICE_MAX_CONCURRENCY", "many", "must be a whole number"),
    ("DOCSLUICE_MAX_CONCURRENCY", "1.5", "must be a whole number"),
    ("DOCSLUICE_REQUESTS_PER_MINUTE", "0", "must be greater than 0"),
    ("DOCSLUICE_REQUESTS_PER_MINUTE", "inf", "must be a finite number"),
    ("DOCSLUICE_TOKENS_PER_MINUTE", "-1", "must be greater than 0"),
    ("DOCSLUICE_TOKENS_PER_MINUTE", "nan", "must be a finite number"),
    ("DOCSLUICE_INPUT_TOKENS_PER_MINUTE", "x", "must be a number"),
    ("DOCSLUICE_OUTPUT_TOKENS_PER_MINUTE", "0", "must be greater than 0"),
    ("DOCSLUICE_SHARED_LIMITS_URL", "host:6379", "must be a URL such as redis://host:6379/0"),
    ("DOCSLUICE_SHARED_LIMITS_URL", "http://host:6379", "must be a URL such as redis://host:6379/0"),
    ("DOCSLUICE_SHARED_LIMITS_URL", "redis://", "must be a URL such as redis://host:6379/0"),
    ("DOCSLUICE_SHARED_LIMITS_URL", "redis://host:99999/0", "must be a URL such as redis://host:6379/0"),
    ("DOCSLUICE_SHARED_LIMITS_URL", "redis://host:6379/zero", "must be a URL such as redis://host:6379/0"),
    ("DOCSLUICE_SHARED_LIMITS_URL", "redis://[bad", "must be a URL such as redis://host:6379/0"),
    ("DOCSLUICE_REQUEST_TIMEOUT_SECONDS", "0", "must be greater than 0"),
    ("DOCSLUICE_MAX_ATTEMPTS", "0", "must be at least 1"),
    ("DOCSLUICE_DEAD_LETTER_MAX_RATIO", "0", "must be greater than 0"),
    ("DOCSLUICE_DEAD_LETTER_MAX_RATIO", "50", "must be at most 1"),
    ("DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE", "-1", "must be at least 0"),
    ("DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION", "0", "must be at least 1"),
    ("DOCSLUICE_COMMIT_INTERVAL_SECONDS", "0", "must be greater than 0"),
    ("DOCSLUICE_DRAIN_SECONDS", "-1", "must be at least 0"),
    ("DOCSLUICE_DRAIN_SECONDS", "inf", "must be a finite number"),
    ("DOCSLUICE_HTTP_PORT", "70000", "must be at most 65535"),
    ("DOCSLUICE_HTTP_PORT", "-1", "must be at least 0"),
    ("DOCSLUICE_LOG_FORMAT", "xml", "must be one of json, console"),
    ("DOCSLUICE_LOG_LEVEL", "LOUD", "must be one of DEBUG, INFO, WARNING, ERROR"),
]


@pytest.mark.parametrize(("variable", "value", "words"), BAD_VALUES)
def test_a_bad_value_is_one_line(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str) -> None:
    """The variable's name, and what it should be."""
    if "\x00" in value:
        problems = _problems({"openai_api_key": value})
    else:
        monkeypatch.setenv(variable, value)
        problems = _problems()
    assert len(problems) == 1
    assert problems[0].startswith(f"{variable}: {words}")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"tokens_per_minute": 1, "input_tokens_per_minute": 1},
            "DOCSLUICE_TOKENS_PER_MINUTE: counts input and output",
        ),
        (
            {"tokens_per_minute": 1, "output_tokens_per_minute": 1},
            "DOCSLUICE_TOKENS_PER_MINUTE: counts input and output",
        ),
        ({"input_topic": "t", "result_topic": "t"}, "DOCSLUICE_INPUT_TOPIC, DOCSLUICE_RESULT_TOPIC"),
        ({"input_topic": "t", "dead_letter_topic": "t"}, "DOCSLUICE_INPUT_TOPIC, DOCSLUICE_RESULT_TOPIC"),
        ({"result_topic": "t", "dead_letter_topic": "t"}, "DOCSLUICE_INPUT_TOPIC, DOCSLUICE_RESULT_TOPIC"),
        (
            {"kafka_security_protocol": "SASL_SSL"},
            "DOCSLUICE_KAFKA_SASL_USERNAME, DOCSLUICE_KAFKA_SASL_PASSWORD: needed",
        ),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_username": "u"},
            "DOCSLUICE_KAFKA_SASL_USERNAME, DOCSLUICE_KAFKA_SASL_PASSWORD: needed",
        ),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_password": PASSWORD},
            "DOCSLUICE_KAFKA_SASL_USERNAME, DOCSLUICE_KAFKA_SASL_PASSWORD: needed",
        ),
    ],
)
def test_values_that_do_not_go_together(overrides: dict[str, Any], words: str) -> None:
    """Each alone is fine. The line names all of them."""
    problems = _problems(overrides)
    assert len(problems) == 1
    assert problems[0].startswith(words)
    assert PASSWORD not in problems[0]


@pytest.mark.parametrize(("protocol", "wanted"), [("PLAINTEXT", "SASL_SSL or SASL_PLAINTEXT"), ("SSL", "SASL_SSL")])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kafka_sasl_username": "u"}, "DOCSLUICE_KAFKA_SASL_USERNAME"),
        ({"kafka_sasl_password": PASSWORD}, "DOCSLUICE_KAFKA_SASL_PASSWORD"),
        (
            {"kafka_sasl_username": "u", "kafka_sasl_password": PASSWORD},
            "DOCSLUICE_KAFKA_SASL_USERNAME, DOCSLUICE_KAFKA_SASL_PASSWORD",
        ),
    ],
)
def test_credentials_that_would_not_be_sent(protocol: str, wanted: str, given: dict[str, Any], named: str) -> None:
    """Otherwise a person believes that they are used. The line says what to set."""
    assert _problems(given | {"kafka_security_protocol": protocol}) == [
        f"{named}: not used with DOCSLUICE_KAFKA_SECURITY_PROTOCOL={protocol}; set that to {wanted}"
    ]


@pytest.mark.parametrize("url", ["redis://host", "redis://user:hunter2-secret@host:6379/0", "rediss://host/?timeout=1"])
def test_where_limits_are_shared_is_a_secret(url: str) -> None:
    """It may hold a password, so it is shown nowhere."""
    settings = load_settings({"shared_limits_url": url})
    assert settings.shared_limits_url == SecretStr(url)
    assert url not in repr(settings)


def test_sharing_limits_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is told before anything starts."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert _problems({"shared_limits_url": "redis://host"}) == [
        "DOCSLUICE_SHARED_LIMITS_URL: needs an extra: pip install 'docsluice[redis]'"
    ]


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to fix settings one start at a time."""
    monkeypatch.delenv("OPENAI_API_KEY")
    assert len(_problems({"tokens_per_minute": 1, "input_tokens_per_minute": 1, "input_topic": "documents.dlq"})) == 3
    assert len(_problems({"mode": "x", "http_port": -1, "max_attempts": 0})) == 3


@pytest.mark.parametrize("key", [None, "", "  ", "\n"])
def test_without_a_key_a_server_must_be_named(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    """OpenAI wants a key. Ollama, vLLM and llama.cpp do not. A blank key is none."""
    monkeypatch.delenv("OPENAI_API_KEY")
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    (problem,) = _problems()
    assert problem.startswith("OPENAI_API_KEY: not set; set it, or set OPENAI_BASE_URL to a server that needs no key")
    settings = load_settings({"openai_base_url": "http://localhost:11434/v1"})
    assert not settings.openai_api_key


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
    Path(".env").write_bytes(b"\xff\xfe\x00")
    assert _problems() == [".env: not valid UTF-8 at byte 0"]


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name that was probably meant. Those of others are none of our business."""
    assert unknown_variables(
        ["DOCSLUICE_MODELS", "DOCSLUICE_MODLE", "DOCSLUICE_XYZZY", "DOCSLUICE_MODEL", "PATH", "OPENAI_ORG"]
    ) == [
        "DOCSLUICE_MODELS is no setting; did you mean DOCSLUICE_MODEL?",
        "DOCSLUICE_MODLE is no setting; did you mean DOCSLUICE_MODEL?",
        "DOCSLUICE_XYZZY is no setting",
    ]
    monkeypatch.setenv("DOCSLUICE_MAX_CONCURENCY", "3")
    Path(".env").write_text("DOCSLUICE_GROUP=x\nUNRELATED=y\n")
    assert unknown_variables(file=read_env_file(None)) == [
        "DOCSLUICE_GROUP is no setting; did you mean DOCSLUICE_GROUP_ID?",
        "DOCSLUICE_MAX_CONCURENCY is no setting; did you mean DOCSLUICE_MAX_CONCURRENCY?",
    ]


def test_a_standard_name_has_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With our prefix it is no setting, and says which one is."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("DOCSLUICE_OPENAI_API_KEY", KEY)
    assert unknown_variables() == ["DOCSLUICE_OPENAI_API_KEY is no setting; did you mean OPENAI_API_KEY?"]
    assert _problems()[0].startswith("OPENAI_API_KEY: not set")


def test_secrets_are_not_shown() -> None:
    """Not in the settings' own text, in whatever form it is asked for."""
    settings = load_settings(
        {"kafka_sasl_password": PASSWORD, "kafka_sasl_username": "u", "kafka_security_protocol": "SASL_SSL"}
    )
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert KEY not in text
        assert PASSWORD not in text


@pytest.mark.parametrize("field", ["openai_api_key", "kafka_sasl_password"])
def test_a_secret_that_is_wrong_is_not_shown(field: str) -> None:
    """Not even when it is what is wrong."""
    problems = _problems({field: [KEY], "http_port": KEY, "mode": PASSWORD})
    assert len(problems) == 3
    assert not re.search("secret", " ".join(problems))


def test_settings_do_not_change() -> None:
    """Read once, at the start."""
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().model = "other"  # type: ignore[misc]


@given(st.sampled_from(sorted(Settings.model_fields)), st.text() | st.integers() | st.floats() | st.none())
def test_any_value_is_taken_or_told(field: str, value: object) -> None:
    """Nothing but a configuration error comes of a bad value, and each line names a variable."""
    try:
        load_settings({"openai_api_key": KEY, field: value})
    except ConfigurationError as error:
        problems = error.problems
        assert all(re.match(r"(DOCSLUICE|OPENAI|KAFKA)_[A-Z_]+(, [A-Z_]+)*: ", problem) for problem in problems)
        assert not any(re.search("Input|String|Value|Unable", problem) for problem in problems), "pydantic's words"


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
