"""The command `check`: tries everything that `run` needs, and says what is missing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal

from docsluice.kafka.broker import broker_of
from docsluice.registry.client import RegistryAway, RegistryClient
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.bootstrap import (
    needs_of,
    prices_of,
    reader_of,
    shared_limits_of,
    steps_store_of,
    subscription_of,
    topics_of,
)
from docsluice_consumer.check.findings import HANDSHAKE_SECONDS, TIMEOUT_SECONDS, Found, Say, tried
from docsluice_consumer.check.providers import check_providers
from docsluice_consumer.check.topic_sizes import sizes_found
from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.errors import BrokerFault, ConfigurationError, RecordRejected
from docsluice_consumer.kafka.connection import topic_limits
from docsluice_consumer.kafka.last_records import last_records
from docsluice_consumer.kafka.probe import Unreachable, look_at, why_closed
from docsluice_consumer.kafka.rights import missing_rights
from docsluice_consumer.registry.schema_cache import SchemaCache
from docsluice_consumer.registry_parts import avro_of, problem_of_results, registry_of
from docsluice_consumer.runtime.open_files import why_too_few
from docsluice_consumer.settings import Settings, unknown_variables
from docsluice_consumer.store.deadline import Deadline
from docsluice_consumer.store.disk_thread import DiskThread
from docsluice_consumer.store.factory import place_of_store
from docsluice_consumer.store.ledger import Ledger
from docsluice_consumer.store.redis_quota import LimitsAway
from docsluice_consumer.store.step_store import NotBelieved, StoreAway
from docsluice_consumer.tasks.pipeline_file import PipelineFile, load_pipeline_file
from docsluice_consumer.tasks.provider_entry import ProviderEntry
from docsluice_consumer.tasks.step_building import models_without_a_task, steps_of
from docsluice_consumer.tasks.steps import Step

_SHOWN_RECORDS = 5
_SHOWN_PROBLEMS = 3


async def check(
    settings: Settings, secrets: KnownSecrets | None = None, *, say: Say, live: bool = False, deep: bool = False
) -> bool:
    """Print a line a part. True when all is well.

    With `live`, each model is called once. With `deep`, the rights on the broker are checked, too.

    Raises:
        ConfigurationError: the pipeline file or the prices file cannot be used. Without `problems`: a provider's key
            cannot be had. A line has told it, and all else was tried.
    """
    file, steps = check_pipeline(settings, say)
    if (problem := why_too_few(calls=settings.concurrency.ceiling)) is not None:
        say(f"DOUBTFUL open files: {problem}")
    avro_of(settings, file)
    state = await _check_state(settings, say)
    store = await _check_store(settings, say)
    broker = await tried(
        f"broker {settings.kafka_bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS)",
        lambda: _check_broker(settings, file),
        say,
    )
    registry = registry_of(settings)
    try:
        is_reached = await _check_registry(registry, say)
        schema = is_reached and await _check_results(registry, settings, file, say)
        if broker:
            broker = await _check_topics(settings, file, say, deep=deep, registry=registry, is_reached=is_reached)
    finally:
        if registry is not None:
            await registry.close()
    keyless: list[str] = []
    try:
        provider = await check_providers(settings, file, steps, secrets, live=live, say=say)
    except ConfigurationError as error:
        keyless = error.problems
    for problem in keyless:
        say(f"FAILED   provider: {problem}")
    shared_limits = await _check_shared_limits(settings, say)
    if keyless:
        raise ConfigurationError([])
    return broker and provider and state and store and shared_limits and schema


def check_pipeline(settings: Settings, say: Say) -> tuple[PipelineFile, Sequence[Step]]:
    """Print what is asked, at which prices and limits, and what of it is doubtful. Return the file and its steps.

    Raises:
        ConfigurationError: the pipeline file or the prices file cannot be used.
    """
    file = load_pipeline_file(settings.pipeline)
    mode = settings.mode or file.mode
    steps = steps_of(file, mode=mode, default_model=settings.model)
    tasks = ", ".join(task.name for task in file.tasks)
    version = file.version(mode=mode, default_model=settings.model)
    say(f"ok       pipeline {file.name} ({mode}), version {version}: {tasks}")
    if settings.given_by_file:
        say(f"ok       file {settings.env_file.path} gives {', '.join(sorted(settings.given_by_file))}")
    prices_of(settings, file)
    if settings.prices:
        say(f"ok       prices {settings.prices} (DOCSLUICE_PRICES)")
    if settings.prefixes:
        say(f"ok       documents by reference {settings.object_prefixes} (DOCSLUICE_OBJECT_PREFIXES)")
    for doubt in (*unknown_variables(file=settings.env_file), *models_without_a_task(file, steps)):
        say(f"DOUBTFUL settings: {doubt}")
    say(f"ok       limits {_limits(settings, file)}")
    return file, steps


def _limits(settings: Settings, file: PipelineFile) -> str:
    """Those that are set, in words: the default account's, then those of each provider."""
    calls = f"{settings.max_concurrency} calls at once"
    own = ", ".join([calls, *(_in_words(_named(settings)) or ["no others"])])
    providers = [
        f"{name}: {', '.join(set_)}" for name, entry in file.providers.items() if (set_ := _in_words(_named(entry)))
    ]
    return "; ".join([own, *providers])


def _named(settings: Settings | ProviderEntry) -> dict[str, float | Decimal | None]:
    named: dict[str, float | Decimal | None] = {
        "requests a minute": settings.requests_per_minute,
        "tokens a minute": settings.tokens_per_minute,
        "input tokens a minute": settings.input_tokens_per_minute,
        "output tokens a minute": settings.output_tokens_per_minute,
    }
    if isinstance(settings, Settings):
        named |= {"dollars an hour": settings.budget_usd_per_hour, "dollars a day": settings.budget_usd_per_day}
    return named


def _in_words(named: Mapping[str, float | Decimal | None]) -> list[str]:
    return [f"{_whole(value):,} {what}" for what, value in named.items() if value is not None]


def _whole(value: float | Decimal) -> float | Decimal:
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def _check_state(settings: Settings, say: Say) -> bool:
    """Try the folder that a budget needs.

    Raises:
        ConfigurationError: it cannot be written to.
    """
    if settings.budget_usd_per_hour is None and settings.budget_usd_per_day is None:
        return True
    what = f"state {settings.state_dir} (DOCSLUICE_STATE_DIR)"
    ledger, thread = Ledger(folder=settings.state_dir, member="check"), DiskThread(name="check.ledger")
    try:
        await Deadline().of(lambda: thread.run(lambda: _looked_at(ledger)))
    except StoreAway as away:
        say(f"FAILED   {what}: {away}")
        return False
    finally:
        thread.end()
    say(f"ok       {what}")
    return True


def _looked_at(ledger: Ledger) -> None:
    try:
        ledger.read()
    finally:
        ledger.close()


async def _check_store(settings: Settings, say: Say) -> bool:
    """Look up an entry that does not exist."""
    store = steps_store_of(settings)
    url = settings.store_url.get_secret_value() if settings.store_url else None
    what = f"store {place_of_store(url, state_dir=settings.state_dir)} (DOCSLUICE_STORE_URL)"
    try:
        with contextlib.suppress(NotBelieved):
            await store.get("0" * 64)
    except StoreAway as away:
        if not settings.store_optional:
            say(f"FAILED   {what}: {away}")
            return False
        say(f"DOUBTFUL {what}: {away}; run goes on without it (DOCSLUICE_STORE_OPTIONAL)")
        return True
    finally:
        await store.close()
    say(f"ok       {what}: reached")
    return True


async def _check_shared_limits(settings: Settings, say: Say) -> bool:
    shared = shared_limits_of(settings)
    if shared is None:
        return True
    try:
        await shared.exchange({}, share=0.0)
    except LimitsAway as away:
        say(f"FAILED   shared limits (DOCSLUICE_SHARED_LIMITS_URL): {away}")
        return False
    finally:
        await shared.close()
    say("ok       shared limits (DOCSLUICE_SHARED_LIMITS_URL): reached")
    return True


async def _check_broker(settings: Settings, file: PipelineFile) -> Found:
    try:
        cluster = await look_at(broker_of(settings), seconds=TIMEOUT_SECONDS)
    except Unreachable as unreachable:
        if (wrong := await why_closed(broker_of(settings), unreachable, seconds=HANDSHAKE_SECONDS)) is not None:
            raise BrokerFault(wrong) from None
        raise
    release = f"like Apache Kafka {cluster.release} or newer" if cluster.release else "an old or unknown protocol"
    where = f"cluster {cluster.id or 'without an id'}, speaks {release}"
    missing = sorted(set(topics_of(settings, file)) - cluster.topics.keys())
    if missing:
        return Found(f"reached; {', '.join(missing)} missing, run will create them; {where}")
    return Found(f"reached; all topics are there; {where}")


async def _check_registry(registry: RegistryClient | None, say: Say) -> bool:
    if registry is None:
        return True
    what = f"registry {registry.address.shown} (DOCSLUICE_SCHEMA_REGISTRY_URL)"
    try:
        await registry.try_it()
    except RegistryAway as away:
        say(f"FAILED   {what}: {away}")
        return False
    say(f"ok       {what}: reached")
    return True


async def _check_results(registry: RegistryClient | None, settings: Settings, file: PipelineFile, say: Say) -> bool:
    """Check whether the registry takes the schema of results, if they have one."""
    avro = avro_of(settings, file)
    if registry is None or avro is None:
        return True
    try:
        problem = await problem_of_results(registry, avro, settings, file)
    except RegistryAway as away:
        problem = str(away)
    if problem is not None:
        say(f"FAILED   {file.path}: output.format: avro: {problem}")
        return False
    say("ok       results in Avro: the registry takes their schema")
    return True


async def _check_topics(
    settings: Settings, file: PipelineFile, say: Say, *, deep: bool, registry: RegistryClient | None, is_reached: bool
) -> bool:
    await _check_sizes(settings, say)
    allowed = not deep or await tried("rights on the broker", lambda: _check_rights(settings, file), say)
    what = f"input {settings.input_topic} (DOCSLUICE_INPUT_TOPIC)"
    if not is_reached:
        say(f"DOUBTFUL {what}: not looked at, for the schema registry is away")
        return allowed
    schemas = None if registry is None else SchemaCache(registry, clock=time.monotonic)
    return await tried(what, lambda: _check_input(settings, reader_of(settings, file, schemas)), say) and allowed


async def _check_sizes(settings: Settings, say: Say) -> None:
    """Print what the topics' limits mean.

    If the broker does not tell them, or the topics are missing, print nothing.
    """
    topics = (settings.input_topic, settings.dead_letter_topic)
    limits = await topic_limits(broker_of(settings), topics, seconds=TIMEOUT_SECONDS)
    found = sizes_found(
        limits,
        input_topic=settings.input_topic,
        dead_letter_topic=settings.dead_letter_topic,
        kept_bytes=subscription_of(settings).kept_record_bytes,
    )
    if found is not None:
        say(found.line("sizes (max.message.bytes)"))


async def _check_rights(settings: Settings, file: PipelineFile) -> Found:
    missing = await missing_rights(
        broker_of(settings), needs_of(settings, file), seconds=TIMEOUT_SECONDS, to_create=True
    )
    if missing is None:
        return Found("the broker is too old to tell them", doubtful=True)
    if missing:
        raise BrokerFault(f"grant {'; '.join(missing)}")
    return Found("all that are needed are there")


async def _check_input(settings: Settings, reader: RecordReader) -> Found:
    """Check whether the last records can be read. The topic's name, the format or the mapping may be wrong."""
    records = await last_records(
        broker_of(settings), settings.input_topic, count=_SHOWN_RECORDS, seconds=TIMEOUT_SECONDS
    )
    events = [record for record in records if record.value is not None]
    if not events:
        return Found("it holds no records yet")
    problems, passed_over = dict[str, list[str]](), 0
    for record in reversed(events):
        try:
            passed_over += await reader.read_by_schema(record) is None
        except RecordRejected as problem:
            told = f"{problem} ({settings.input_topic}/{record.partition}@{record.offset}"
            problems.setdefault(problem.cause or str(problem), []).append(told)
    if problems:
        count = f"{sum(map(len, problems.values()))} of {len(events)}"
        newest = "; ".join(_newest(alike) for alike in list(problems.values())[:_SHOWN_PROBLEMS])
        return Found(f"of its last records, {count} are no document events: {newest}", doubtful=True)
    if passed_over == len(events):
        return Found(f"all of its last records are passed over (input.when; {len(events)} looked at)", doubtful=True)
    passed = f", {passed_over} passed over" if passed_over else ""
    return Found(f"its last records are document events ({len(events)} looked at{passed})")


def _newest(alike: Sequence[str]) -> str:
    """The newest of problems that are alike, and how many others there are."""
    others = f", and {len(alike) - 1} more like it" if len(alike) > 1 else ""
    return f"{alike[0]}{others})"
