"""The settings that both programs have, and how settings are read: flags over the environment over a `.env` file."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from docsluice.errors import ConfigurationError
from docsluice.network.urls import LARGEST_PORT, checked_servers
from docsluice.settings.env_file import EnvFile, EnvFileProblem, Way, read_env_file
from docsluice.settings.foreign_values import foreign_values
from docsluice.settings.paths import why_nowhere
from docsluice.settings.setting_types import Group, HomeFile, SaslMechanism, SecurityProtocol, Topic
from docsluice.settings.trusted_addresses import problems_of
from docsluice.settings.unknown_variables import PREFIX
from docsluice.validation.validation_problems import ValidationProblem, validation_problems


class SharedSettings(BaseSettings):
    """Settings of both programs, each read from its variable. An empty variable is unset.

    The descriptions are what `--help` and docs/reference/settings.md say.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        str_strip_whitespace=True,
        allow_inf_nan=False,
    )

    kafka_bootstrap_servers: str = Field(
        "localhost:9092",
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        min_length=1,
        description="brokers as host:port, with commas between",
    )
    kafka_security_protocol: SecurityProtocol = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    kafka_sasl_mechanism: SaslMechanism | None = Field(
        None, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; without it PLAIN"
    )
    kafka_sasl_username: str | None = Field(None, description="user name, with SASL_PLAINTEXT or SASL_SSL")
    kafka_sasl_password: SecretStr | None = Field(None, description="password, with SASL_PLAINTEXT or SASL_SSL")
    kafka_ssl_cafile: HomeFile | None = Field(
        None, description="PEM file of who may vouch for the broker's certificate; without it the system's authorities"
    )
    kafka_ssl_certfile: HomeFile | None = Field(
        None, description="PEM file of our own certificate, where the broker asks for one"
    )
    kafka_ssl_keyfile: HomeFile | None = Field(
        None, description="PEM file of that certificate's key, unless it is in the same file"
    )

    group_id: Group = Field("docsluice", description="consumer group")
    input_topic: Topic = Field("documents", description="topic that documents come from")
    result_topic: Topic = Field("documents.results", description="topic that results go to")
    dead_letter_topic: Topic = Field("documents.dlq", description="topic that dead letters go to")

    http_port: int = Field(9464, ge=0, le=LARGEST_PORT, description="/metrics, /livez and /readyz; 0 takes a free one")

    _env_file: EnvFile = PrivateAttr(default_factory=EnvFile)
    _given: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def env_file(self) -> EnvFile:
        """The `.env` that was read beside the environment, which comes first."""
        return self._env_file

    @property
    def given_by_file(self) -> frozenset[str]:
        """The variables that were taken from it."""
        return self._given

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a setting."""
        alias = cls.model_fields[field].validation_alias
        return alias if isinstance(alias, str) else (PREFIX + field).upper()

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        *,
        env_file: Path | None = None,
        ways: Collection[Way] | None = None,
    ) -> Self:
        """Read the environment, and below it the file that is named, or else `.env`. `flags` (by field name) win.

        `ways` are those on which secrets leave the program. Without them, those of the service.

        Raises:
            ConfigurationError: one sentence for each problem, naming the variable.
        """
        if (nowhere := why_nowhere()) is not None:
            raise ConfigurationError([nowhere])
        try:
            file = read_env_file(env_file)
        except EnvFileProblem as problem:
            raise ConfigurationError([str(problem)]) from None
        flags = dict(flags or {})
        fields = {cls.variable(field): field for field in cls.model_fields if field not in flags}
        if foreign := foreign_values(os.environ, fields):
            raise ConfigurationError(foreign)
        given = {name: value for name, value in file.given(os.environ).items() if name in fields}
        values: dict[str, Any] = {fields[name]: value for name, value in given.items()}
        try:
            settings = cls(**values, **flags)
        except ValidationError as error:
            found = [line for problem in validation_problems(error, expected=cls) for line in cls._sentences(problem)]
            raise ConfigurationError([*found, *problems_of(file, given, set_elsewhere=(), ways=ways)]) from None
        set_ = {cls.variable(field) for field in settings.model_fields_set if getattr(settings, field)}
        if problems := problems_of(file, given, set_elsewhere=set_ - given.keys(), ways=ways):
            raise ConfigurationError(problems)
        settings._env_file, settings._given = file, frozenset(given)  # nobody else may
        return settings

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _addresses(cls, servers: str) -> str:
        return checked_servers(servers)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := self._problems():
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> list[str]:
        """A sentence for each problem of several settings together."""
        return [problem for problem in (self._sasl_problem(), self._ssl_problem()) if problem]

    def _sasl_problem(self) -> str | None:
        """Credentials that are never sent are a problem too: whoever set them believes that they are."""
        protocol = self.kafka_security_protocol
        fields = ("kafka_sasl_username", "kafka_sasl_password")
        given = [self.variable(field) for field in fields if getattr(self, field)]
        if protocol.startswith("SASL"):
            needed = ", ".join(map(self.variable, fields))
            lacking = len(given) < len(fields)
            return f"{needed}: needed with DOCSLUICE_KAFKA_SECURITY_PROTOCOL={protocol}" if lacking else None
        wanted = "SASL_SSL" if protocol == "SSL" else "SASL_SSL or SASL_PLAINTEXT"
        unused = f"not used with DOCSLUICE_KAFKA_SECURITY_PROTOCOL={protocol}; set that to {wanted}"
        return f"{', '.join(given)}: {unused}" if given else None

    def _ssl_problem(self) -> str | None:
        """Files that are never used are a problem too: the connection is not encrypted, and somebody believes it is."""
        protocol = self.kafka_security_protocol
        fields = ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
        given = [self.variable(field) for field in fields if getattr(self, field)]
        if protocol in {"SSL", "SASL_SSL"} or not given:
            return None
        wanted = "SASL_SSL" if protocol == "SASL_PLAINTEXT" else "SSL or SASL_SSL"
        unused = f"not used with DOCSLUICE_KAFKA_SECURITY_PROTOCOL={protocol}; set that to {wanted}"
        return f"{', '.join(given)}: {unused}"

    @classmethod
    def _sentences(cls, problem: ValidationProblem) -> list[str]:
        """One sentence a problem. Never the value, which may be a secret."""
        if not problem.place:
            return problem.sentence.splitlines()
        field = problem.place[0]
        variable = cls.variable(field) if field in cls.model_fields else field
        return [f"{variable}: {problem.sentence}"]
