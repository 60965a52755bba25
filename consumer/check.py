"""`docsluice-consumer check`: tries all that `run` needs, and says what is missing before documents are at stake."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from consumer.decode import decode
from consumer.errors import (
    BrokerFault,
    DocsluiceError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RecordRejected,
)
from consumer.kafka.last_records import last_records
from consumer.kafka.probe import Unreachable, look_at, why_closed
from consumer.kafka.rights import missing_rights
from consumer.llm.pipeline_file import load_pipeline_file
from consumer.llm.pricing import load_own_prices
from consumer.llm.steps import models_without_a_task, steps_of
from consumer.parts import broker_of, client_of, needs_of, shared_limits_of, steps_store_of, topics_of
from consumer.settings import Settings, unknown_variables
from consumer.store.ledger import Ledger
from consumer.store.opening import place_of_steps
from consumer.store.shared_limits import LimitsAway
from consumer.store.steps import StoreAway

_PATIENCE_SECONDS = 10.0
_HANDSHAKE_SECONDS = 3.0
_SHOWN_MODELS = 10
_SHOWN_RECORDS = 5
_HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Found:
    """What a part turned out to be. `doubtful`: it may yet work, for some servers do not list all that they have."""

    sentence: str
    doubtful: bool = False


async def check(settings: Settings, *, say: Callable[[str], None], deep: bool = False) -> bool:
    """Print a line a part; True when all is well. `deep` asks for the rights on the broker, too.

    Raises:
        ConfigurationError: the pipeline file or the prices file cannot be used.
    """
    file = load_pipeline_file(settings.pipeline)
    mode = settings.mode or file.mode
    steps = steps_of(file, mode=mode, default_model=settings.model)
    tasks = ", ".join(task.name for task in file.tasks)
    version = file.version(mode=mode, default_model=settings.model)
    say(f"ok       pipeline {file.name} ({mode}), version {version}: {tasks}")
    if settings.prices:
        say(f"ok       prices {settings.prices}: {', '.join(load_own_prices(settings.prices))}")
    for problem in (*unknown_variables(), *models_without_a_task(file, steps)):
        say(f"DOUBTFUL settings: {problem}")
    say(f"ok       limits {_limits(settings)}")
    _check_state(settings, say)
    store = await _check_store(settings, say)
    models = {step.model for step in steps}
    broker = await _tried(
        f"broker {settings.kafka_bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS)", lambda: _check_broker(settings), say
    )
    if broker:
        broker = await _check_topics(settings, say, deep=deep)
    provider = await _tried(
        f"provider {settings.openai_base_url or 'OpenAI'} (OPENAI_BASE_URL)",
        lambda: _check_provider(settings, models),
        say,
    )
    shared_limits = await _check_shared_limits(settings, say)
    return broker and provider and store and shared_limits


def _limits(settings: Settings) -> str:
    """Those that are set, in words."""
    named = {
        "requests a minute": settings.requests_per_minute,
        "tokens a minute": settings.tokens_per_minute,
        "input tokens a minute": settings.input_tokens_per_minute,
        "output tokens a minute": settings.output_tokens_per_minute,
        "dollars an hour": settings.budget_usd_per_hour,
        "dollars a day": settings.budget_usd_per_day,
    }
    parts = [f"{value:,} {what}" for what, value in named.items() if value is not None]
    return ", ".join([f"{settings.max_concurrency} calls at once", *(parts or ["no others"])])


def _check_state(settings: Settings, say: Callable[[str], None]) -> None:
    """Try the folder that a budget needs.

    Raises:
        ConfigurationError: it cannot be written to.
    """
    if settings.budget_usd_per_hour is None and settings.budget_usd_per_day is None:
        return
    Ledger(folder=settings.state_dir.expanduser(), member="check").close()
    say(f"ok       state {settings.state_dir} (DOCSLUICE_STATE_DIR)")


async def _tried(what: str, attempt: Callable[[], Awaitable[Found]], say: Callable[[str], None]) -> bool:
    try:
        found = await attempt()
    except DocsluiceError as problem:
        say(f"FAILED   {what}: {problem}")
        return False
    say(f"{'DOUBTFUL' if found.doubtful else 'ok      '} {what}: {found.sentence}")
    return True


async def _check_store(settings: Settings, say: Callable[[str], None]) -> bool:
    """Look for an answer that nobody has asked for."""
    store = steps_store_of(settings)
    url = settings.store_url.get_secret_value() if settings.store_url else None
    what = f"store {place_of_steps(url, state_dir=settings.state_dir)} (DOCSLUICE_STORE_URL)"
    try:
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


async def _check_shared_limits(settings: Settings, say: Callable[[str], None]) -> bool:
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


async def _check_broker(settings: Settings) -> Found:
    try:
        cluster = await look_at(broker_of(settings), seconds=_PATIENCE_SECONDS)
    except Unreachable as unreachable:
        if (wrong := await why_closed(broker_of(settings), unreachable, seconds=_HANDSHAKE_SECONDS)) is not None:
            raise BrokerFault(wrong) from None
        raise
    release = f"like Apache Kafka {cluster.release} or newer" if cluster.release else "an old or unknown protocol"
    where = f"cluster {cluster.id or 'without an id'}, speaks {release}"
    missing = sorted(set(topics_of(settings)) - cluster.topics)
    if missing:
        return Found(f"reached; {', '.join(missing)} missing, run will create them; {where}")
    return Found(f"reached; all topics are there; {where}")


async def _check_topics(settings: Settings, say: Callable[[str], None], *, deep: bool) -> bool:
    allowed = not deep or await _tried("rights on the broker", lambda: _check_rights(settings), say)
    what = f"input {settings.input_topic} (DOCSLUICE_INPUT_TOPIC)"
    return await _tried(what, lambda: _check_input(settings), say) and allowed


async def _check_rights(settings: Settings) -> Found:
    missing = await missing_rights(broker_of(settings), needs_of(settings), seconds=_PATIENCE_SECONDS, to_create=True)
    if missing is None:
        return Found("the broker is too old to tell them", doubtful=True)
    if missing:
        raise BrokerFault(f"grant {'; '.join(missing)}")
    return Found("all that are needed are there")


async def _check_input(settings: Settings) -> Found:
    """Look whether the last records can be read. A person may have given another topic's name, or another format."""
    records = await last_records(
        broker_of(settings), settings.input_topic, count=_SHOWN_RECORDS, seconds=_PATIENCE_SECONDS
    )
    events = [record for record in records if record.value is not None]
    if not events:
        return Found("it holds no records yet")
    problems = []
    for record in events:
        try:
            decode(key=record.key, value=record.value or b"", headers=record.headers)
        except RecordRejected as problem:
            problems.append(f"{problem} (partition {record.partition}, offset {record.offset})")
    if problems:
        count = f"{len(problems)} of {len(events)}"
        return Found(f"of its last records, {count} are no document events: {problems[-1]}", doubtful=True)
    return Found(f"its last records are document events ({len(events)} looked at)")


async def _check_provider(settings: Settings, models: set[str]) -> Found:
    url = settings.openai_base_url or ""
    client = client_of(settings)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            offered = await client.probe()
    except (TimeoutError, DocsluiceError) as problem:
        if url.startswith("http:") and await _any_speaks_tls([url], default_port=_HTTP_PORT):
            raise ProviderMisconfigured("it speaks TLS; begin OPENAI_BASE_URL with https://") from None
        if isinstance(problem, TimeoutError):
            raise ProviderUnavailable(f"no answer within {_PATIENCE_SECONDS:.0f} seconds") from None
        raise
    finally:
        await client.close()
    unknown = sorted(models - set(offered))
    if not unknown:
        return Found(f"reached; offers {', '.join(sorted(models))}")
    listed = ", ".join(sorted(offered)[:_SHOWN_MODELS]) or "none"
    missing = ", ".join(unknown)
    return Found(f"reached, but it does not list {missing} (DOCSLUICE_MODEL); it lists {listed}", doubtful=True)


async def _any_speaks_tls(urls: list[str], *, default_port: int) -> bool:
    """Whether one of them would take part in a TLS handshake. Its certificate is not looked at, and nothing is sent."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    for parts in map(urllib.parse.urlsplit, urls):
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or default_port, ssl=anybody)
            writer.transport.abort()
            return True
    return False
