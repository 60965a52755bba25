"""Builds the parts that settings describe."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from docsluice.expressions.expression import RECORD_NAMES, Expression
from docsluice.expressions.template import readable
from docsluice.kafka.batch_reading import KEPT_RECORD_BYTES
from docsluice.kafka.broker import broker_of
from docsluice.network.urls import passwords_in
from docsluice.settings.env_file import REMEDY, distrusted
from docsluice.settings.paths import at_home, why_unreadable
from docsluice.text.api_keys import looks_like_key
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.admission.leased_bucket import BURST_SECONDS
from docsluice_consumer.admission.limits import Limits, MinuteLimits
from docsluice_consumer.analysis.avro_results import AvroResults
from docsluice_consumer.analysis.result_writer import ResultWriter
from docsluice_consumer.dead_letters.limit import DeadLetterLimit
from docsluice_consumer.decode.decode import RecordReader, Schemas
from docsluice_consumer.decode.input_rules import InputMapping, InputRules
from docsluice_consumer.errors import ConfigurationError, ProviderMisconfigured
from docsluice_consumer.kafka.at_least_once import AtLeastOnceSink
from docsluice_consumer.kafka.backpressure import OpenLimits
from docsluice_consumer.kafka.commits import Committer, GroupCommitter
from docsluice_consumer.kafka.exactly_once import ExactlyOnceSink, transactional_id_of
from docsluice_consumer.kafka.records import Sink
from docsluice_consumer.kafka.rights import Needs
from docsluice_consumer.kafka.subscription import Subscription
from docsluice_consumer.llm.credentials import CommandKey, Credentials, FileKey, NoKey, StaticKey
from docsluice_consumer.llm.pricing import PriceRules, Prices, is_price_rule, load_own_prices
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.model_ref import DEFAULT_PROVIDER, problem_of_label
from docsluice_consumer.objects.locations import BUCKETS
from docsluice_consumer.objects.reading import ObjectReader
from docsluice_consumer.objects.stores import Buckets, Files, WebServers
from docsluice_consumer.runtime import open_files
from docsluice_consumer.settings import OWN_KEY_FIELDS, Settings, variable_of
from docsluice_consumer.store.factory import open_store
from docsluice_consumer.store.redis_quota import RedisQuota, account_of
from docsluice_consumer.store.step_store import StepStore
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.tasks.provider_entry import KEY_FIELDS, ProviderEntry
from docsluice_consumer.tasks.steps import Step
from docsluice_consumer.telemetry.metrics import Metrics

_SECONDS_A_DAY = 86_400
_ROOM_BESIDE_VALUE_BYTES = 8 * 1024 * 1024


_NO_KEY = (
    "OPENAI_API_KEY: not set; set it, or set OPENAI_BASE_URL to a server that needs no key (Ollama, vLLM, llama.cpp)"
)
_SECRETS_LASTING = ("openai_api_key", "kafka_sasl_password", "schema_registry_password")
_NEVER_SHOWN = frozenset({"openai_api_key_command", "kafka_sasl_username", "schema_registry_username"})
"""Settings whose values are never shown: a command may contain the key."""
_URLS_WITH_SECRETS = ("store_url", "shared_limits_url")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def known_secrets_of(settings: Settings) -> KnownSecrets:
    """The secrets that the settings hold, and the proxies that the environment names.

    Raises:
        ConfigurationError: a public setting holds a key.
    """
    secrets = {
        variable_of(name): found.get_secret_value() for name in _SECRETS_LASTING if (found := getattr(settings, name))
    }
    shown = {
        variable_of(name): value
        for name in Settings.model_fields
        if isinstance(value := getattr(settings, name), str) and name not in _NEVER_SHOWN
    }
    problems = [
        f"{name}: holds the secret of {other}, and everybody sees it in logs, metrics and results; put its own value"
        for name, value in shown.items()
        for other, secret in secrets.items()
        if looks_like_key(secret) and secret in value
    ]
    if problems:
        raise ConfigurationError(problems)
    known = KnownSecrets(public=("docsluice", *shown.values()))
    urls = [found.get_secret_value() for name in _URLS_WITH_SECRETS if (found := getattr(settings, name))]
    urls += [value for name, value in os.environ.items() if name.lower() in _PROXIES]
    for secret in (*secrets.values(), *(password for url in urls for password in passwords_in(url))):
        known.learn(secret)
    return known


def providers_of(
    settings: Settings, file: PipelineFile, steps: Sequence[Step], secrets: KnownSecrets | None = None
) -> dict[str, Provider]:
    """The providers of the steps' models, by name. `secrets` learns what they are sent.

    Raises:
        ConfigurationError: a sentence for each provider without its key.
    """
    found: dict[str, Provider] = {}
    problems: list[str] = []
    secrets = secrets or KnownSecrets()
    if any(not task.models for task in file.tasks) and (
        problem := problem_of_label(settings.model, providers=file.providers)
    ):
        raise ConfigurationError([f"DOCSLUICE_MODEL: {problem}"])
    for name in sorted({model.provider for step in steps for model in step.models}):
        try:
            found[name] = replace(_provider(name, settings, file), secrets=secrets)
        except (ValueError, ProviderMisconfigured) as problem:
            problems.append(str(problem) + (_who_asks_the_default(settings, file) if name == DEFAULT_PROVIDER else ""))
    if problems:
        raise ConfigurationError(problems)
    models = (str(model) for step in steps for model in step.models)
    secrets.show(
        (*file.providers, *models, *(step.name for step in steps), *(one.base_url or "" for one in found.values()))
    )
    for value in (value for one in found.values() for value in one.headers.values()):
        secrets.learn(value)
    return found


def _provider(name: str, settings: Settings, file: PipelineFile) -> Provider:
    if name == DEFAULT_PROVIDER:
        return _default_provider(settings)
    entry, where = file.providers[name], f"{file.path}: providers.{name}"
    key_field = next((field for field in KEY_FIELDS if getattr(entry, field) is not None), "api_key_env")
    return Provider(
        name=name,
        base_url=entry.base_url,
        credentials=_credentials(entry, settings, where=where),
        headers=entry.headers,
        azure_api_version=entry.azure.api_version if entry.azure else None,
        request_timeout_seconds=entry.timeout_seconds or settings.request_timeout_seconds,
        key_setting=f"{where}.{key_field}{f' {entry.api_key_env}' if entry.api_key_env else ''}",
        address_setting=f"{where}.base_url",
        model_setting=f"{file.path}: tasks.model",
    )


def _who_asks_the_default(settings: Settings, file: PipelineFile) -> str:
    """Name the task that asks the default provider first, so that a name meant for another provider is found."""
    for task in file.tasks:
        for label in task.models or (settings.model,):
            if file.ref(label).provider == DEFAULT_PROVIDER:
                where = (
                    f"tasks.{task.name}.model" if task.models else f"DOCSLUICE_MODEL, for tasks.{task.name} has none"
                )
                return f"; {file.path}: {label} is asked there ({where})"
    return ""


def _default_provider(settings: Settings) -> Provider:
    credentials: Credentials = NoKey()
    key_field = next((field for field in OWN_KEY_FIELDS if getattr(settings, field)), "openai_api_key")
    if settings.openai_api_key:
        credentials = StaticKey(settings.openai_api_key.get_secret_value())
    elif settings.openai_api_key_file is not None:
        credentials = _file_key(settings.openai_api_key_file, setting=variable_of("openai_api_key_file"))
    elif settings.openai_api_key_command is not None:
        credentials = CommandKey(settings.openai_api_key_command, setting=variable_of("openai_api_key_command"))
    elif settings.openai_base_url is None:
        raise ValueError(_NO_KEY)
    return Provider(
        base_url=settings.openai_base_url,
        credentials=credentials,
        key_setting=variable_of(key_field),
        request_timeout_seconds=settings.request_timeout_seconds,
    )


def _credentials(entry: ProviderEntry, settings: Settings, *, where: str) -> Credentials:
    """The key of a provider of the pipeline file.

    Raises:
        ValueError: it is missing, or may not go to the address that the file names.
    """
    in_environment = os.environ.get(entry.api_key_env or "", "").strip()
    if _is_unvouched_pipeline(settings) and (in_environment or entry.api_key_file or entry.api_key_command):
        what = entry.api_key_env or "the key"
        raise ValueError(
            f"{where}.base_url: DOCSLUICE_PIPELINE is {distrusted(settings.env_file)}, and {what} would be sent there;"
            f" {REMEDY}"
        )
    if entry.api_key_file is not None:
        return _file_key(Path(entry.api_key_file), setting=f"{where}.api_key_file")
    if entry.api_key_command is not None:
        return CommandKey(entry.api_key_command, setting=f"{where}.api_key_command")
    if entry.api_key_env is None:
        return NoKey()
    key = in_environment or settings.env_file.values.get(entry.api_key_env.upper(), "").strip()
    if not key:
        raise ValueError(f"{where}.api_key_env: the variable {entry.api_key_env} is not set")
    return StaticKey(key, setting=f"{where}.api_key_env {entry.api_key_env}")


def _file_key(path: Path, *, setting: str) -> FileKey:
    """The key in a file. A missing one ends the start, not the first document."""
    try:
        path = at_home(path)
    except ValueError as problem:
        raise ValueError(f"{setting}: {problem}") from None
    key = FileKey(path, setting=setting)
    if (why := why_unreadable(path)) is not None:
        raise ValueError(f"the API key cannot be read ({key.source}): {why}")
    return key


def _is_unvouched_pipeline(settings: Settings) -> bool:
    """Whether an unnamed `.env` chooses the pipeline file, and so its providers' addresses."""
    return "DOCSLUICE_PIPELINE" in settings.given_by_file and not settings.env_file.is_named


def prices_of(settings: Settings, file: PipelineFile) -> Prices:
    """What calls cost at each provider.

    Raises:
        ConfigurationError: the prices file cannot be used.
    """
    said = settings.prices
    rules = {
        DEFAULT_PROVIDER: PriceRules(
            base_url=settings.openai_base_url, rule=said if said is not None and is_price_rule(said) else None
        )
    }
    for name, entry in file.providers.items():
        own = entry.prices if isinstance(entry.prices, dict) else {}
        rule = entry.prices if isinstance(entry.prices, str) else None
        rules[name] = PriceRules(base_url=entry.base_url, rule=rule, own=own)
    is_file = said is not None and not is_price_rule(said)
    own_prices = load_own_prices(Path(said)) if said is not None and is_file else None
    return Prices(own=own_prices, rules=rules, clock=time.time)


def shared_limits_of(settings: Settings) -> RedisQuota | None:
    """Where all replicas count their limits together, if anywhere."""
    if settings.shared_limits_url is None:
        return None
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    return RedisQuota(
        url=settings.shared_limits_url.get_secret_value(),
        account=account_of(base_url=settings.openai_base_url, api_key=key),
        burst_seconds=BURST_SECONDS,
    )


def steps_store_of(settings: Settings) -> StepStore:
    """Where answers are kept that were paid for."""
    return open_store(
        settings.store_url.get_secret_value() if settings.store_url else None,
        state_dir=settings.state_dir,
        max_bytes=settings.store_max_bytes,
        max_age_seconds=settings.store_max_age_days * _SECONDS_A_DAY,
    )


def reader_of(settings: Settings, file: PipelineFile, schemas: Schemas | None = None) -> RecordReader:
    """What makes events of records."""
    return RecordReader(rules=input_rules_of(file), most_bytes=settings.max_document_bytes, schemas=schemas)


def input_rules_of(file: PipelineFile) -> InputRules:
    """The rules of the pipeline file's `input`. A mapping reads what is not mapped where an event has it."""
    entry = file.input
    mapping = None
    if entry.is_mapping:
        mapping = InputMapping(
            document_id=readable(entry.document_id or "document_id", names=RECORD_NAMES),
            text=readable(entry.uri or entry.text or "text", names=RECORD_NAMES),
            is_reference=entry.uri is not None,
            metadata={name: readable(one, names=RECORD_NAMES) for name, one in (entry.metadata or {}).items()},
        )
    return InputRules(
        form=entry.format,
        charset=entry.charset,
        mapping=mapping,
        when=Expression(entry.when, names=RECORD_NAMES) if entry.when else None,
        is_strict=entry.strict,
    )


def objects_of(settings: Settings, file: PipelineFile) -> ObjectReader:
    """What reads the texts that events refer to."""
    prefixes, buckets, web = settings.prefixes, Buckets(), WebServers(seconds=settings.request_timeout_seconds)
    return ObjectReader(
        stores={"file": Files(prefixes), "https": web, **dict.fromkeys(BUCKETS, buckets)},
        prefixes=prefixes,
        most_bytes=settings.max_document_bytes,
        held_bytes=settings.max_open_bytes,
        charset=file.input.charset,
    )


def writer_of(settings: Settings, file: PipelineFile, avro: AvroResults | None = None) -> ResultWriter:
    """How results are written, and where to.

    Raises:
        ConfigurationError: a route leads to the input topic, and so round in a circle.
    """
    entry = file.output
    if settings.input_topic in entry.topics:
        problem = (
            f"leads to {settings.input_topic}, which is DOCSLUICE_INPUT_TOPIC: the service would read what it writes"
        )
        raise ConfigurationError([f"{file.path}: output.route: {problem}"])
    return ResultWriter(
        topic=settings.result_topic,
        form=entry.form,
        with_schema=entry.format == "connect",
        avro=avro,
        key=entry.answers_key,
        fields=entry.fields,
        routes=entry.route,
    )


def topics_of(settings: Settings, file: PipelineFile) -> list[str]:
    """Every topic that the service reads or writes, once."""
    return list(
        dict.fromkeys([settings.input_topic, settings.result_topic, settings.dead_letter_topic, *file.output.topics])
    )


def needs_of(settings: Settings, file: PipelineFile) -> Needs:
    """What the broker must allow."""
    exactly_once = settings.delivery == "exactly_once"
    return Needs(
        input_topic=settings.input_topic,
        result_topic=settings.result_topic,
        dead_letter_topic=settings.dead_letter_topic,
        routed_topics=file.output.topics,
        group_id=settings.group_id,
        transactional_ids=[transactional_id_of(settings.group_id, settings.input_topic, 0)] if exactly_once else [],
    )


async def delivery_of(
    settings: Settings, metrics: Metrics, cleanup: contextlib.AsyncExitStack
) -> tuple[Sink, Committer]:
    """What publishes outcomes, and what commits. `cleanup` disconnects them."""
    if settings.delivery == "exactly_once":
        both = ExactlyOnceSink(broker=broker_of(settings), group_id=settings.group_id, metrics=metrics)
        cleanup.push_async_callback(both.close)
        return both, both
    sink = await AtLeastOnceSink.open(broker_of(settings))
    cleanup.push_async_callback(sink.close)
    return sink, GroupCommitter(metrics=metrics)


def dead_letter_limit_of(settings: Settings) -> DeadLetterLimit:
    """How many documents may fail before reading stops."""
    return DeadLetterLimit(
        max_ratio=settings.dead_letter_max_ratio, max_consecutive=settings.dead_letter_max_consecutive
    )


def subscription_of(settings: Settings) -> Subscription:
    """What to read, and how much of it at a time."""
    return Subscription(
        topic=settings.input_topic,
        group_id=settings.group_id,
        group_instance_id=settings.group_instance_id,
        ordering=settings.ordering,
        open_limits=OpenLimits(
            records_per_partition=settings.max_open_records_per_partition,
            records=settings.most_open_records,
            bytes=settings.max_open_bytes,
        ),
        commit_interval_seconds=settings.commit_interval_seconds,
        drain_seconds=settings.drain_seconds,
        # Room for the key and the headers, too: a record is kept so that its dead letter can be whole.
        kept_record_bytes=max(KEPT_RECORD_BYTES, settings.max_document_bytes + _ROOM_BESIDE_VALUE_BYTES),
        refuses_unknown_maps=settings.delivery == "exactly_once" and settings.unknown_commit_map == "refuse",
    )


def limits_of(settings: Settings, file: PipelineFile) -> Limits:
    """What the account allows, and the models that the pipeline file speaks of."""
    return Limits(
        min_concurrency=open_files.fitting(settings.concurrency.floor),
        max_concurrency=open_files.fitting(settings.concurrency.ceiling),
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        input_tokens_per_minute=settings.input_tokens_per_minute,
        output_tokens_per_minute=settings.output_tokens_per_minute,
        by_model={
            file.ref(label): MinuteLimits(**own.minute_limits)
            for label, own in file.models.items()
            if own.minute_limits
        },
        by_provider={name: MinuteLimits(**entry.minute_limits) for name, entry in file.providers.items()},
    )
