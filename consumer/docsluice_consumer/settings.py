"""The environment, and `.env`, as one frozen object: validated at the start, with units in the names."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
)

from docsluice.network.urls import checked_base_url, is_redis
from docsluice.settings.env_file import EnvFile
from docsluice.settings.setting_types import Dollars, HomeFile, HomePath, Member
from docsluice.settings.shared_settings import SharedSettings
from docsluice.settings.unknown_variables import unknown_among
from docsluice.text.api_keys import problem_of_key
from docsluice_consumer.admission.concurrency_range import Concurrency, checked_concurrency, concurrency_range
from docsluice_consumer.decode.decode import MAX_DOCUMENT_BYTES
from docsluice_consumer.objects.locations import BUCKETS, Prefix, prefix_of
from docsluice_consumer.store.factory import checked_store_url

OWN_KEY_FIELDS = ("openai_api_key", "openai_api_key_file", "openai_api_key_command")
"""Where the default provider's key may come from. One of them at most."""

_REGISTRY_FIELDS = (
    "schema_registry_url",
    "schema_registry_username",
    "schema_registry_password",
    "schema_registry_cafile",
)


class Settings(SharedSettings):
    """Every setting of the service, each read from the variable that docs/reference/settings.md names."""

    openai_api_key: SecretStr | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="needed unless the base URL is set"
    )
    openai_api_key_file: HomePath | None = Field(
        None, description="file that holds the key, instead of the key; read again when it changes, and after a 401"
    )
    openai_api_key_command: str | None = Field(
        None, description="command that prints the key, instead of the key; run again after a 401"
    )
    openai_base_url: str | None = Field(
        None,
        validation_alias="OPENAI_BASE_URL",
        description="any server that speaks OpenAI's chat completions; without it OpenAI itself",
    )

    group_instance_id: Member | None = Field(
        None,
        description="a name that stays the same for each replica: a restart then moves nothing",
    )
    topic_partitions: int = Field(
        -1, ge=-1, le=100_000, description="of topics that are missing and are created; -1: as many as the broker likes"
    )
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once", description="exactly_once or at_least_once, see docs/explanation/delivery.md"
    )
    unknown_commit_map: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="a map of ended records that a later release has committed: refuse stops with exactly_once, where "
        "records would be repeated; ignore repeats them",
    )
    ordering: Literal["unordered", "key", "partition"] = Field(
        "unordered",
        description="unordered; or key: one record of a key at a time, in order; or partition: one of a partition",
    )

    pipeline: HomePath | None = Field(
        None, description="path of a pipeline file, see docs/reference; without it the built-in one"
    )
    model: str = Field("gpt-4o-mini", min_length=1, description="model for tasks that name none")
    mode: Literal["fanout", "fused"] | None = Field(
        None, description="fanout: a call for each task; or fused: one call for all; without it as the pipeline says"
    )
    prices: HomeFile | None = Field(
        None,
        description="prices at the default provider: free, a provider of the price list such as openai, or a YAML file "
        "of your own, see docs/reference/settings.md; without it the provider's address tells",
    )

    schema_registry_url: str | None = Field(
        None,
        description="schema registry with Confluent's API, for records that name a schema, and for results in Avro; "
        "without it such records are read only if they are JSON",
    )
    schema_registry_username: str | None = Field(None, description="user name or API key at the registry")
    schema_registry_password: SecretStr | None = Field(None, description="password or API secret at the registry")
    schema_registry_cafile: HomeFile | None = Field(
        None,
        description="PEM file of who may vouch for the registry; without it the system's authorities",
    )

    object_prefixes: str | None = Field(
        None,
        description="places that an event's uri may name in place of a text, with commas between, such as "
        "s3://bucket/in/ or https://files.example.com/; without it none",
    )

    max_concurrency: Annotated[str, BeforeValidator(str), AfterValidator(checked_concurrency)] = Field(
        "16",
        description="calls of the model in flight, over all replicas; or a range such as auto:4..128, for servers that "
        "name no limits: how many are best is then found out",
    )
    requests_per_minute: float | None = Field(None, gt=0, description="limit on requests; without it none")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="limit on tokens, input and output together; without it none"
    )
    input_tokens_per_minute: float | None = Field(
        None, gt=0, description="limit on input tokens, instead of the combined one"
    )
    output_tokens_per_minute: float | None = Field(
        None, gt=0, description="limit on output tokens, instead of the combined one"
    )
    shared_limits_url: SecretStr | None = Field(
        None,
        description="Redis in which all replicas count the limits a minute together, as redis://host:6379/0 or with "
        "rediss; without it each takes the share of them that its partitions are of all",
    )
    budget_usd_per_hour: Dollars | None = Field(
        None, description="dollars that may be spent in an hour (UTC), over all replicas; then it waits for the next"
    )
    budget_usd_per_day: Dollars | None = Field(None, description="the same for a day (UTC)")
    max_cost_usd_per_document: Dollars | None = Field(
        None, description="a document that is expected to cost more becomes a dead letter before any call"
    )
    service_tier: Literal["auto", "default", "flex", "priority"] | None = Field(
        None,
        description="asked of providers that have tiers: auto, default, flex or priority; an event whose metadata say "
        "priority low then gets flex, and high gets default where this is flex",
    )
    request_timeout_seconds: float = Field(
        60.0, gt=0, le=86_400, description="one call, from request to the whole answer"
    )
    max_attempts: int = Field(5, ge=1, description="failures of one step of a document while others succeed")

    dead_letter_max_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="reading stops when so many of the last 200 documents became dead letters, judged once 100 have "
        "ended; 1: never",
    )
    dead_letter_max_consecutive: int = Field(
        100, ge=0, description="the same when so many documents in a row became dead letters; 0: never"
    )
    dead_letter_answer: bool = Field(
        default=True,
        description="true: a dead letter has the answer that was rejected, up to 2 KiB of it; false: it has not",
    )

    max_open_records_per_partition: int = Field(
        256, ge=1, description="records read and not yet ended; the partition is paused at that many"
    )
    max_open_records: int | None = Field(
        None,
        ge=1,
        description="the same over all partitions: all of them are paused at that many; without it eight for each call "
        "that may be in flight, at least 1024 and at most 2048",
    )
    max_open_bytes: int = Field(
        128 * 1024 * 1024,
        ge=1,
        description="bytes of open records as they were read, over all partitions; while one is worked on it takes "
        "about three times that, a text full of emoji up to nine times",
    )
    max_document_bytes: int = Field(
        MAX_DOCUMENT_BYTES,
        ge=1,
        le=64 * 1024 * 1024,
        description="a record whose value has more bytes becomes a dead letter before it is decoded; 64 MiB at most",
    )
    commit_interval_seconds: float = Field(0.5, gt=0, le=60, description="from one commit to the next")
    drain_seconds: float = Field(
        30.0, ge=0, le=86_400, description="after SIGTERM: finish what is in flight for so long"
    )

    state_dir: HomePath = Field(
        Path(".docsluice"),
        description="folder for what must survive a restart: what was spent of a budget, and the store",
    )
    store_url: SecretStr | None = Field(
        None,
        description="store of answers, so that none is paid for twice: sqlite:///FILE, redis://HOST:PORT/0, memory:// "
        "or none://; without it a file in the state folder, for all processes of this machine",
    )
    store_optional: bool = Field(
        default=False,
        description="true: go on without the store while it is away, and pay again; false: documents wait for it",
    )
    store_max_bytes: int = Field(
        1024**3, ge=1024**2, description="size of the store, where it is a file or memory; then the oldest answers go"
    )
    store_max_age_days: float = Field(30.0, gt=0, le=36_500, description="for so long an answer is kept")
    http_host: str = Field(
        "0.0.0.0",  # noqa: S104 - Prometheus scrapes from elsewhere
        description="address on which the HTTP port is opened",
    )
    log_format: Literal["json", "console"] | None = Field(
        None, description="json or console; without it console on a terminal and json elsewhere"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @property
    def prefixes(self) -> list[Prefix]:
        """`object_prefixes`, read."""
        return [prefix_of(one) for one in _listed(self.object_prefixes)]

    @property
    def concurrency(self) -> Concurrency:
        """`max_concurrency`, read."""
        return concurrency_range(self.max_concurrency)

    @property
    def most_open_records(self) -> int:
        """`max_open_records`, or what keeps all calls busy: an open record takes 17 kB beside its text."""
        if self.max_open_records is not None:
            return self.max_open_records
        return min(2048, max(1024, 8 * self.concurrency.ceiling))

    @field_validator("openai_api_key")
    @classmethod
    def _sendable(cls, key: SecretStr | None) -> SecretStr | None:
        """A key that is none would fail in every call, and each document with it."""
        if key and key.get_secret_value() and (problem := problem_of_key(key.get_secret_value())):
            raise ValueError(problem)
        return key

    @field_validator("openai_base_url")
    @classmethod
    def _reachable(cls, url: str | None) -> str | None:
        return checked_base_url(url) if url else None

    @field_validator("schema_registry_url")
    @classmethod
    def _registry(cls, url: str | None) -> str | None:
        return checked_base_url(url, key_setting="DOCSLUICE_SCHEMA_REGISTRY_PASSWORD") if url else None

    @field_validator("object_prefixes")
    @classmethod
    def _allowing(cls, prefixes: str | None) -> str | None:
        found = [prefix_of(one) for one in _listed(prefixes)]
        if any(one.scheme in BUCKETS for one in found) and importlib.util.find_spec("obstore") is None:
            raise ValueError(f"needs an extra for {', '.join(BUCKETS)}: pip install 'docsluice[objects]'")
        return prefixes

    @field_validator("shared_limits_url")
    @classmethod
    def _shareable(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        if not is_redis(url.get_secret_value()):
            raise ValueError("must be a URL such as redis://host:6379/0 or rediss://:password@host:6379/0")
        if importlib.util.find_spec("redis") is None:
            raise ValueError("needs an extra: pip install 'docsluice[redis]'")
        return url

    @field_validator("store_url")
    @classmethod
    def _openable(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        checked_store_url(url.get_secret_value())
        return url

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if len(set_keys := [variable_of(name) for name in OWN_KEY_FIELDS if getattr(self, name)]) > 1:
            problems.append(f"{', '.join(set_keys)}: only one of them may be set")
        problems += self._registry_problems()
        separate = (self.input_tokens_per_minute, self.output_tokens_per_minute)
        if self.tokens_per_minute is not None and separate != (None, None):
            problems.append(
                "DOCSLUICE_TOKENS_PER_MINUTE: counts input and output together; set it or the two separate limits"
            )
        if len({self.input_topic, self.result_topic, self.dead_letter_topic}) < 3:  # noqa: PLR2004 - three topics
            problems.append(
                "DOCSLUICE_INPUT_TOPIC, DOCSLUICE_RESULT_TOPIC, DOCSLUICE_DEAD_LETTER_TOPIC: must differ from one "
                "another, or the service would read what it writes"
            )
        return problems

    def _registry_problems(self) -> Iterator[str]:
        """Credentials that are never sent are a problem, as those of the broker are."""
        url, user, password, cafile = map(variable_of, _REGISTRY_FIELDS)
        if self.schema_registry_url is None:
            given = [variable_of(name) for name in _REGISTRY_FIELDS if getattr(self, name)]
            if given:
                yield f"{', '.join(given)}: not used without {url}"
            return
        if bool(self.schema_registry_username) != bool(self.schema_registry_password):
            yield f"{user}, {password}: only one of them is set, and the registry needs both"
        if self.schema_registry_cafile is not None and not self.schema_registry_url.startswith("https:"):
            yield f"{cafile}: not used, for {url} does not begin with https"


def variable_of(field: str) -> str:
    """The environment variable of a setting."""
    return Settings.variable(field)


def _listed(written: str | None) -> list[str]:
    return [one.strip() for one in (written or "").split(",") if one.strip()]


def load_settings(overrides: Mapping[str, Any] | None = None, *, env_file: Path | None = None) -> Settings:
    """See `SharedSettings.load`."""
    return Settings.load(overrides, env_file=env_file)


def unknown_variables(environment: Iterable[str] | None = None, *, file: EnvFile | None = None) -> list[str]:
    """A sentence for each `DOCSLUICE_` variable that is no setting, most likely a misspelt one.

    Without `environment`, those of the process and of `file` are looked at.
    """
    known = {variable_of(field) for field in Settings.model_fields}
    if environment is None:
        environment = {*os.environ, *(file.values if file else ())}
    return unknown_among(environment, known=known)
