"""What is wrong in the environment is told in one line, with the variable's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.settings.env_file import read_env_file
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.service import Service
from docsluice_consumer.settings import Settings, load_settings, unknown_variables
from tests.fakes.environment import KEY, PASSWORD, problems_of

BAD_VALUES = [
    ("OPENAI_API_KEY", "sk-é", "holds a character that is not ASCII; copy it again"),
    ("OPENAI_API_KEY", "sk a", "holds white space inside: two keys, or a key and something else; give one key"),
    ("OPENAI_API_KEY", "sk-one\nsk-two", "holds white space inside: two keys"),
    ("OPENAI_API_KEY", "sk-one\u00a0two", "holds white space inside"),
    ("OPENAI_API_KEY", "sk-first-key,sk-other-key", "holds two keys; give one"),
    ("OPENAI_API_KEY", "Bearer sk-a", 'begins with "Bearer", which is added by itself; give the key alone'),
    ("OPENAI_API_KEY", "OPENAI_API_KEY=sk-a", "begins with the name of a variable; give the key alone"),
    (
        "OPENAI_API_KEY",
        '"sk-a"',
        "is in quotes, which docker run --env-file and lists in Compose keep; write it without",
    ),
    ("OPENAI_API_KEY", 'sk-a"', "holds a quote mark; copy it again"),
    ("DOCSLUICE_MODEL", "'m'", "is in quotes"),
    ("DOCSLUICE_MAX_CONCURRENCY", ' "8" ', "is in quotes"),
    ("DOCSLUICE_HTTP_PORT", "tcp://10.0.0.1:9464", "was set by Kubernetes for a service of that name"),
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
    ("DOCSLUICE_GROUP_ID", "a\x01b", "must hold no control characters, nor invisible ones; copy it again"),
    ("DOCSLUICE_GROUP_ID", "a\nb", "must hold no control characters"),
    ("DOCSLUICE_GROUP_ID", "a\u202eb", "must hold no control characters"),
    ("DOCSLUICE_INPUT_TOPIC", "a\x01b", "must be 1 to 249 letters (a to z), digits"),
    ("DOCSLUICE_GROUP_INSTANCE_ID", "a\x01b", "must be 1 to 200 letters, digits"),
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
        problems = problems_of({"openai_api_key": value})
    else:
        monkeypatch.setenv(variable, value)
        problems = problems_of()
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
    problems = problems_of(overrides)
    assert len(problems) == 1
    assert problems[0].startswith(words)
    assert PASSWORD not in problems[0]


REGISTRY = "DOCSLUICE_SCHEMA_REGISTRY"
USER, PASS = f"{REGISTRY}_USERNAME", f"{REGISTRY}_PASSWORD"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"username": "u", "password": PASSWORD},
            f"{USER}, {PASS}: not used without {REGISTRY}_URL",
        ),
        (
            {"url": "http://r", "username": "u"},
            f"{USER}, {PASS}: only one of them is set, and the registry needs both",
        ),
        (
            {"url": "http://r", "cafile": "/c"},
            f"{REGISTRY}_CAFILE: not used, for {REGISTRY}_URL does not begin with https",
        ),
        (
            {"url": f"http://u:{PASSWORD}@r"},
            f"{REGISTRY}_URL: must hold no user name or password; the key goes into {PASS}",
        ),
        (
            {"url": f"http://r?key={PASSWORD}"},
            f"{REGISTRY}_URL: must hold no key behind the ?; the key goes into {PASS}",
        ),
        ({"url": "registry:8081"}, f"{REGISTRY}_URL: must be a URL such as http://localhost:11434/v1"),
    ],
)
def test_a_registry_that_would_be_asked_otherwise(given: dict[str, str], problem: str) -> None:
    """Credentials are sent whole or not at all, and never in the address."""
    assert problems_of({f"schema_registry_{name}": value for name, value in given.items()}) == [problem]


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
    assert problems_of(given | {"kafka_security_protocol": protocol}) == [
        f"{named}: not used with DOCSLUICE_KAFKA_SECURITY_PROTOCOL={protocol}; set that to {wanted}"
    ]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"kafka_security_protocol": "PLAINTEXT"}, "SSL or SASL_SSL"),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_username": "u", "kafka_sasl_password": PASSWORD},
            "SASL_SSL",
        ),
    ],
)
def test_certificates_that_would_not_be_used(given: dict[str, str], wanted: str) -> None:
    """Otherwise a person believes that the connection is encrypted."""
    files = {"kafka_ssl_cafile": "/ca.pem", "kafka_ssl_keyfile": "/key.pem"}
    (problem,) = problems_of({**given, **files})
    protocol = f"DOCSLUICE_KAFKA_SECURITY_PROTOCOL={given['kafka_security_protocol']}"
    named = "DOCSLUICE_KAFKA_SSL_CAFILE, DOCSLUICE_KAFKA_SSL_KEYFILE"
    assert problem == f"{named}: not used with {protocol}; set that to {wanted}"


def test_sharing_limits_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is told before anything starts."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert problems_of({"shared_limits_url": "redis://host"}) == [
        "DOCSLUICE_SHARED_LIMITS_URL: needs an extra: pip install 'docsluice[redis]'"
    ]


def test_every_problem_is_told_at_once() -> None:
    """Nobody wants to fix settings one start at a time."""
    together = {"tokens_per_minute": 1, "input_tokens_per_minute": 1, "openai_api_key_command": "pass show key"}
    assert len(problems_of({**together, "input_topic": "documents.dlq"})) == 3
    assert len(problems_of({"mode": "x", "http_port": -1, "max_attempts": 0})) == 3


@pytest.mark.parametrize("key", [None, "", "  ", "\n"])
def test_without_a_key_a_server_must_be_named(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    """OpenAI wants a key. Ollama, vLLM and llama.cpp do not. A blank key is none."""
    monkeypatch.delenv("OPENAI_API_KEY")
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigurationError) as caught:
        Service(load_settings())
    (problem,) = caught.value.problems
    assert problem.startswith("OPENAI_API_KEY: not set; set it, or set OPENAI_BASE_URL to a server that needs no key")
    settings = load_settings({"openai_base_url": "http://localhost:11434/v1"})
    assert not settings.openai_api_key


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name that was probably meant. Those of others are none of our business."""
    assert unknown_variables(
        ["DOCSLUICE_MODELS", "DOCSLUICE_MODLE", "DOCSLUICE_XYZZY", "DOCSLUICE_MODEL", "PATH", "OPENAI_ORG"]
    ) == [
        "DOCSLUICE_MODELS is no setting; did you mean DOCSLUICE_MODEL?",
        "DOCSLUICE_MODLE is no setting; did you mean DOCSLUICE_MODEL?",
        "DOCSLUICE_XYZZY is no setting",
    ]
    assert unknown_variables(["KAFKA_BOOSTRAP_SERVERS", "OPENAI_BASEURL", "OPENAI_ORG_ID", "KAFKA_HOME"]) == [
        "KAFKA_BOOSTRAP_SERVERS is no setting; did you mean KAFKA_BOOTSTRAP_SERVERS?",
        "OPENAI_BASEURL is no setting; did you mean OPENAI_BASE_URL?",
    ]
    monkeypatch.setenv("DOCSLUICE_MAX_CONCURENCY", "3")
    Path(".env").write_text("DOCSLUICE_GROUP=x\nUNRELATED=y\n")
    assert unknown_variables(file=read_env_file(None)) == [
        "DOCSLUICE_GROUP is no setting; did you mean DOCSLUICE_GROUP_ID?",
        "DOCSLUICE_MAX_CONCURENCY is no setting; did you mean DOCSLUICE_MAX_CONCURRENCY?",
    ]


def test_variables_of_a_kubernetes_service_are_not_misspelt() -> None:
    """Each container of the namespace is told of each service. One called docsluice is no mistake."""
    names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_METRICS", "PORT", "PORT_9464_TCP", "PORT_9464_TCP_ADDR"]
    assert unknown_variables([f"DOCSLUICE_{name}" for name in names]) == []
    assert unknown_variables([f"DOCSLUICE_CONSUMER_{name}" for name in names]) == []
    assert unknown_variables(["DOCSLUICE_PORT"]) == ["DOCSLUICE_PORT is no setting; did you mean DOCSLUICE_HTTP_PORT?"]


def test_quotes_in_a_file_are_no_part_of_the_value(tmp_path: Path) -> None:
    """A file is read as its kind is, and a value in quotes of its own can be written there."""
    path = tmp_path / "settings.env"
    path.write_text("""OPENAI_BASE_URL="http://a/v1"\nDOCSLUICE_MODEL='"m"'\n""")
    settings = load_settings(env_file=path)
    assert (settings.openai_base_url, settings.model) == ("http://a/v1", '"m"')


def test_a_standard_name_has_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With our prefix it is no setting, and says which one is."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("DOCSLUICE_OPENAI_API_KEY", KEY)
    assert unknown_variables() == ["DOCSLUICE_OPENAI_API_KEY is no setting; did you mean OPENAI_API_KEY?"]


@given(st.sampled_from(sorted(Settings.model_fields)), st.text() | st.integers() | st.floats() | st.none())
def test_any_value_is_taken_or_told(field: str, value: object) -> None:
    """Nothing but a configuration error comes of a bad value, and each line names a variable."""
    try:
        load_settings({"openai_api_key": KEY, field: value})
    except ConfigurationError as error:
        problems = error.problems
        assert all(re.match(r"(DOCSLUICE|OPENAI|KAFKA)_[A-Z_]+(, [A-Z_]+)*: ", problem) for problem in problems)
        assert not any(re.search("Input|String|Value|Unable", problem) for problem in problems), "pydantic's words"
