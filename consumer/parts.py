"""The parts that settings describe."""

from __future__ import annotations

from consumer.admission.holding import BURST_SECONDS
from consumer.admission.limits import Limits, MinuteLimits
from consumer.kafka.backpressure import OpenLimits
from consumer.kafka.connection import Broker
from consumer.kafka.source import Subscription
from consumer.llm.client import OpenAIChatClient
from consumer.llm.credentials import NoKey, StaticKey
from consumer.llm.pipeline_file import PipelineFile
from consumer.llm.provider import Provider
from consumer.settings import Settings
from consumer.store.opening import open_steps
from consumer.store.shared_limits import SharedLimits, account_of
from consumer.store.steps import StepStore

_SECONDS_A_DAY = 86_400


def broker_of(settings: Settings) -> Broker:
    """How to reach the broker."""
    password = settings.kafka_sasl_password
    return Broker(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ssl_cafile=settings.kafka_ssl_cafile,
        ssl_certfile=settings.kafka_ssl_certfile,
        ssl_keyfile=settings.kafka_ssl_keyfile,
    )


def client_of(settings: Settings) -> OpenAIChatClient:
    """The model client."""
    key = settings.openai_api_key
    provider = Provider(
        base_url=settings.openai_base_url,
        credentials=StaticKey(key.get_secret_value()) if key else NoKey(),
        request_timeout_seconds=settings.request_timeout_seconds,
    )
    return OpenAIChatClient(provider=provider, max_connections=settings.concurrency.ceiling)


def shared_limits_of(settings: Settings) -> SharedLimits | None:
    """Where all replicas count their limits together, if anywhere."""
    if settings.shared_limits_url is None:
        return None
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    return SharedLimits(
        url=settings.shared_limits_url.get_secret_value(),
        account=account_of(base_url=settings.openai_base_url, api_key=key),
        burst_seconds=BURST_SECONDS,
    )


def steps_store_of(settings: Settings) -> StepStore:
    """Where answers are kept that were paid for."""
    return open_steps(
        settings.store_url.get_secret_value() if settings.store_url else None,
        state_dir=settings.state_dir.expanduser(),
        max_bytes=settings.store_max_bytes,
        max_age_seconds=settings.store_max_age_days * _SECONDS_A_DAY,
    )


def topics_of(settings: Settings) -> list[str]:
    """Every topic that the service reads or writes."""
    return [settings.input_topic, settings.result_topic, settings.dead_letter_topic]


def subscription_of(settings: Settings) -> Subscription:
    """What to read, and how much of it at a time."""
    return Subscription(
        topic=settings.input_topic,
        group_id=settings.group_id,
        group_instance_id=settings.group_instance_id,
        ordering=settings.ordering,
        open_limits=OpenLimits(
            records_per_partition=settings.max_open_records_per_partition,
            records=settings.max_open_records,
            bytes=settings.max_open_bytes,
        ),
        commit_interval_seconds=settings.commit_interval_seconds,
        drain_seconds=settings.drain_seconds,
    )


def limits_of(settings: Settings, file: PipelineFile) -> Limits:
    """What the account allows, and the models that the pipeline file speaks of."""
    return Limits(
        min_concurrency=settings.concurrency.floor,
        max_concurrency=settings.concurrency.ceiling,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        input_tokens_per_minute=settings.input_tokens_per_minute,
        output_tokens_per_minute=settings.output_tokens_per_minute,
        by_model={
            model: MinuteLimits(**own.model_dump(exclude={"context_tokens"}))
            for model, own in file.models.items()
            if own.limits_minutes
        },
    )
