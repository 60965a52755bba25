"""The service's course: start, run, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import time
from collections.abc import Callable
from typing import Literal

import structlog

from docsluice.kafka.broker import broker_of
from docsluice.messages import REASONS_OF_RECORDS, REASONS_OF_STEPS
from docsluice.network.urls import shown
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.analysis.admission_report import AdmissionReport
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.model_caller import ModelCaller
from docsluice_consumer.analysis.results import Identity
from docsluice_consumer.bootstrap import (
    dead_letter_limit_of,
    delivery_of,
    known_secrets_of,
    limits_of,
    needs_of,
    objects_of,
    prices_of,
    providers_of,
    reader_of,
    shared_limits_of,
    steps_store_of,
    subscription_of,
    topics_of,
    writer_of,
)
from docsluice_consumer.dead_letters.hold import DeadLetterHold
from docsluice_consumer.dead_letters.sink import DeadLetterSink
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.kafka.connection import ensure_topics
from docsluice_consumer.kafka.records import Sink
from docsluice_consumer.kafka.rights import ensure_rights
from docsluice_consumer.kafka.source import Source
from docsluice_consumer.llm.chat import ChatClient
from docsluice_consumer.llm.provider_clients import ClientFactory, ProviderClients
from docsluice_consumer.pipeline import Pipeline
from docsluice_consumer.registry.schema_cache import SchemaCache
from docsluice_consumer.registry_parts import avro_in, avro_of, registry_of
from docsluice_consumer.runtime import open_files
from docsluice_consumer.runtime.listening import why_not_listening
from docsluice_consumer.runtime.waiting import Stopped, unless, until
from docsluice_consumer.settings import Settings
from docsluice_consumer.side_tasks.budget_journal import BudgetJournal
from docsluice_consumer.side_tasks.gauges import Gauges
from docsluice_consumer.side_tasks.quota_lease import QuotaLease
from docsluice_consumer.store.factory import place_of_store
from docsluice_consumer.store.ledger import Ledger
from docsluice_consumer.store.retrying_store import RetryingStore
from docsluice_consumer.store.step_store import StoreUnusable
from docsluice_consumer.tasks.pipeline_file import PipelineFile, load_pipeline_file
from docsluice_consumer.tasks.step_building import models_without_a_task, steps_of
from docsluice_consumer.telemetry.health import HealthServer
from docsluice_consumer.telemetry.loop_watch import LoopWatch
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

LOOP_DEADLINE_SECONDS = 120.0
_NAMED_RECORDS = 20
_STARTING = "starting: waiting for the broker, or to be let into the consumer group"
_RIGHTS_SECONDS = 10.0


class Service:
    """One consumer of the input topic.

    Raises:
        ConfigurationError: from the constructor, if the settings name a file that cannot be used.
    """

    def __init__(
        self, settings: Settings, secrets: KnownSecrets | None = None, *, file: PipelineFile | None = None
    ) -> None:
        self._settings = settings
        self._secrets = secrets or known_secrets_of(settings)
        self._file = file or load_pipeline_file(settings.pipeline)
        self._mode: Literal["fanout", "fused"] = settings.mode or self._file.mode
        self._pipeline_version = self._file.version(mode=self._mode, default_model=settings.model)
        self._steps = steps_of(
            self._file,
            mode=self._mode,
            default_model=settings.model,
            default_url=settings.openai_base_url or "",
        )
        self._providers = providers_of(settings, self._file, self._steps, self._secrets)
        self._prices = prices_of(settings, self._file)
        self._metrics = Metrics(cut=self._secrets.cut_label)
        self._metrics.build(version=importlib.metadata.version("docsluice"), pipeline_version=self._pipeline_version)
        for problem in models_without_a_task(self._file, self._steps):
            log.warning("pipeline.unused_limits", problem=problem)
        for task, model in ((step.name, model) for step in self._steps for model in step.models):
            self._metrics.expect_task(task=task, model=model)
        self._metrics.expect_dead_letters(
            of_records=REASONS_OF_RECORDS, of_steps=REASONS_OF_STEPS, steps=[step.name for step in self._steps]
        )
        self._gauges = Gauges(self._metrics)
        self._loop_watch = LoopWatch()
        self._dead_letter_hold = DeadLetterHold(limit=dead_letter_limit_of(settings))
        self._admission: Admission | None = None
        self._source: Source | None = None
        self._journal: BudgetJournal | None = None
        self._store = RetryingStore(store=steps_store_of(settings), is_optional=settings.store_optional)
        self._registry, self._avro = registry_of(settings), avro_of(settings, self._file)
        self._schemas = None if self._registry is None else SchemaCache(self._registry, clock=time.monotonic)
        self._objects = objects_of(settings, self._file)
        self._not_ready: str | None = _STARTING
        self.http_port = 0
        self._fault: asyncio.Future[None]
        """Set by a part without which going on would lose records, or wait for ever."""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain.

        Raises:
            ConfigurationError: something that the settings name does not work.
            ServiceFault: going on would lose records. Nothing past the open ones is committed.
        """
        self._fault = asyncio.get_running_loop().create_future()
        async with contextlib.AsyncExitStack() as cleanup:
            try:
                source = await self._start(stop, cleanup)
            except Stopped:
                log.info("service.not_started", was=self._not_ready)
                return
            self._not_ready = None
            try:
                await until(stop, self._fault)
            finally:
                self._not_ready = "draining: finishing what has been begun, and then it ends"
            await self._drain(source)
        log.info("service.stopped")

    async def _start(self, stop: asyncio.Event, cleanup: contextlib.AsyncExitStack) -> Source:
        """Start the parts in the order of dependence. `cleanup` ends them in reverse."""
        settings, broker = self._settings, broker_of(self._settings)
        open_files.make_room(calls=settings.concurrency.ceiling)
        self._loop_watch.start()
        cleanup.callback(self._loop_watch.close)
        await self._serve_health(cleanup)
        client = await self._client_and_store(cleanup, ProviderClients)
        await unless(stop, ensure_rights(broker, needs_of(settings, self._file), seconds=_RIGHTS_SECONDS))
        topics = ensure_topics(
            broker,
            topics_of(settings, self._file),
            partitions=settings.topic_partitions,
            roomy=settings.dead_letter_topic,
        )
        await unless(stop, topics)
        if self._avro is not None:
            self._not_ready = "starting: waiting for the schema registry (DOCSLUICE_SCHEMA_REGISTRY_URL)"
        self._avro = await unless(stop, avro_in(self._registry, self._avro, settings, self._file))
        self._not_ready = _STARTING
        sink, committer = await unless(stop, delivery_of(settings, self._metrics, cleanup))
        admission, set_share = await self._admission_of(stop, cleanup)
        source = Source(
            broker=broker,
            subscription=subscription_of(settings),
            process=self._pipeline_of(client, sink, admission).process,
            committer=committer,
            metrics=self._metrics,
            pause_reason=lambda: self._dead_letter_hold.pause_reason() or admission.pause_reason(),
            on_share=set_share,
            fault=self._fault,
        )
        self._admission = admission
        cleanup.push_async_callback(source.close)
        await unless(stop, source.start())
        self._source = source
        open_files.make_room(calls=settings.concurrency.ceiling, partitions=source.partition_count)
        self._say_started()
        return source

    async def pipeline_into(
        self, sink: Sink, cleanup: contextlib.AsyncExitStack, *, clients: ClientFactory = ProviderClients
    ) -> Pipeline:
        """The path of a record into a sink of the caller's, with all parts but those of Kafka. `cleanup` ends them.

        `clients` makes the client of all providers.

        Raises:
            ConfigurationError: something that the settings name does not work.
        """
        self._fault = asyncio.get_running_loop().create_future()
        client = await self._client_and_store(cleanup, clients)
        admission, set_share = await self._admission_of(asyncio.Event(), cleanup)
        set_share(1.0)
        return self._pipeline_of(client, sink, admission)

    async def _client_and_store(self, cleanup: contextlib.AsyncExitStack, clients: ClientFactory) -> ChatClient:
        client = clients(self._providers, max_connections=open_files.fitting(self._settings.concurrency.ceiling))
        for part in (client, self._store, self._objects, self._schemas):
            if part is not None:
                cleanup.push_async_callback(part.close)
        await self._try_store()
        return client

    async def _try_store(self) -> None:
        try:
            await self._store.try_it()
        except StoreUnusable as reason:
            url = self._settings.store_url
            place = place_of_store(url.get_secret_value() if url else None, state_dir=self._settings.state_dir)
            problem = (
                f"{'DOCSLUICE_STORE_URL' if url else 'DOCSLUICE_STATE_DIR'}: {place} cannot be used: {reason};"
                " DOCSLUICE_STORE_OPTIONAL=true goes on without it, and pays again for what is in it"
            )
            raise ConfigurationError([problem]) from None

    async def _drain(self, source: Source) -> None:
        """Finish what has begun. The next owner reads the rest again."""
        self._store.leave()
        seconds, released = self._settings.drain_seconds, self._dead_letter_hold.release_waiting()
        log.info("service.draining", seconds=seconds, released=released)
        give_up = self._admission.cancel_if_blocked if self._admission else lambda: None
        drained = await source.drain(seconds=seconds, meanwhile=give_up)
        log.info(
            "service.drained",
            finished=drained.finished,
            released=drained.released,
            unfinished=len(drained.unfinished),
            records=list(drained.unfinished[:_NAMED_RECORDS]),
        )
        if self._fault.done():
            self._fault.result()

    def _stop_because(self, error: BaseException) -> None:
        if not self._fault.done():
            self._fault.set_exception(error)

    async def _serve_health(self, cleanup: contextlib.AsyncExitStack) -> None:
        server = HealthServer(
            metrics=self._metrics,
            health=self,
            refresh=self.refresh,
            cut=self._secrets.cut,
            most_connections=open_files.http_connections(calls=self._settings.concurrency.ceiling),
        )
        cleanup.push_async_callback(server.close)
        host, port = self._settings.http_host, self._settings.http_port
        try:
            self.http_port = await server.start(host=host, port=port)
        except (OSError, ValueError) as error:
            raise ConfigurationError([why_not_listening(error, host=host, port=port)]) from error

    async def _admission_of(
        self, stop: asyncio.Event, cleanup: contextlib.AsyncExitStack
    ) -> tuple[Admission, Callable[[float], None]]:
        """Admission, and whom to tell which share of its limits is ours."""
        settings = self._settings
        budget = Budget(usd_per_hour=settings.budget_usd_per_hour, usd_per_day=settings.budget_usd_per_day)
        if budget.is_set:
            member = f"{settings.group_id}/{settings.group_instance_id or ''}"
            ledger = Ledger(folder=settings.state_dir, member=member)
            self._journal = journal = BudgetJournal(budget=budget, ledger=ledger, stop_because=self._stop_because)
            cleanup.push_async_callback(journal.close)
            await unless(stop, journal.start())
        change = asyncio.Event()
        admission = Admission(
            limits=limits_of(settings, self._file),
            timer=asyncio.get_running_loop(),
            listener=AdmissionReport(metrics=self._metrics, change=change),
            budget=budget,
        )
        self._metrics.expect_waits(admission.constraints)
        shared = shared_limits_of(settings)
        if shared is None:
            return admission, admission.set_share
        quota_lease = QuotaLease(
            admission=admission,
            grantor=shared,
            clock=asyncio.get_running_loop(),
            change=change,
            stop_because=self._stop_because,
        )
        cleanup.push_async_callback(quota_lease.close)
        await quota_lease.start()
        return admission, quota_lease.set_share

    def _pipeline_of(self, client: ChatClient, sink: Sink, admission: Admission) -> Pipeline:
        settings = self._settings
        model_caller = ModelCaller(
            client=client,
            admission=admission,
            prices=self._prices,
            metrics=self._metrics,
            max_attempts=settings.max_attempts,
            context_tokens=self._file.context_tokens,
            wait_until_store_writable=self._store.until_writable,
        )
        analyzer = Analyzer(
            steps=self._steps,
            answers=model_caller,
            answer_recovery=AnswerRecovery(answers=model_caller, metrics=self._metrics),
            answer_cache=AnswerCache(store=self._store, metrics=self._metrics),
            max_cost_usd=settings.max_cost_usd_per_document,
            service_tier=settings.service_tier,
        )
        identity = Identity(
            group_id=settings.group_id,
            writer=writer_of(settings, self._file, self._avro),
            pipeline_version=self._pipeline_version,
            mode=self._mode,
            carried_headers=frozenset(self._file.output.headers),
        )
        reader = reader_of(settings, self._file, self._schemas)
        dead_letters = DeadLetterSink(
            sink=sink,
            dead_letter_hold=self._dead_letter_hold,
            identity=identity,
            topic=settings.dead_letter_topic,
            metrics=self._metrics,
            keeps_answers=settings.dead_letter_answer,
            cut=self._secrets.cut,
            name_in=reader.name_in,
        )
        return Pipeline(
            analyzer=analyzer,
            sink=sink,
            dead_letters=dead_letters,
            dead_letter_hold=self._dead_letter_hold,
            identity=identity,
            metrics=self._metrics,
            reader=reader,
            objects=self._objects,
        )

    def why_not_live(self) -> str | None:
        """See `telemetry.health.Health`."""
        if self._source is None:
            return None
        for name, moved_at in (("poll", self._source.polled_at), ("commit", self._source.committed_at)):
            if time.monotonic() - moved_at > LOOP_DEADLINE_SECONDS:
                return f"the {name} loop has not moved for {LOOP_DEADLINE_SECONDS:.0f} seconds"
        return None

    def why_not_ready(self) -> str | None:
        """See `telemetry.health.Health`."""
        return (
            self._why_no_ledger()
            or self._not_ready
            or (self._source.why_not_ready() if self._source is not None else None)
            or self._dead_letter_hold.why_not_ready()
            or self._why_no_store()
            or (self._schemas.why_not_ready() if self._schemas is not None else None)
            or self._objects.why_not_ready()
        )

    def resume(self) -> None:
        """Go on after the dead-letter limit, because a person asked for it."""
        self._dead_letter_hold.resume()

    def _why_no_ledger(self) -> str | None:
        if self._journal is None or self._journal.why_waiting is None:
            return None
        return f"starting: waiting for the ledger (DOCSLUICE_STATE_DIR): {self._journal.why_waiting}"

    def _why_no_store(self) -> str | None:
        if self._store.why_away is None or self._settings.store_optional:
            return None
        return f"the store of steps (DOCSLUICE_STORE_URL) is away: {self._store.why_away}; documents wait for it"

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        self._metrics.event_loop_seen(
            lag_seconds=self._loop_watch.longest_lag_seconds(), tasks=len(asyncio.all_tasks())
        )
        if self._source is not None and self._admission is not None:
            self._gauges.refresh(self._source, self._admission)

    def _say_started(self) -> None:
        log.info(
            "service.started",
            version=importlib.metadata.version("docsluice"),
            topic=self._settings.input_topic,
            group=self._settings.group_id,
            pipeline=self._file.name,
            pipeline_version=self._pipeline_version,
            mode=self._mode,
            delivery=self._settings.delivery,
            ordering=self._settings.ordering,
            max_concurrency=self._settings.max_concurrency,
            models=sorted({str(model) for step in self._steps for model in step.models}),
            servers={name: shown(one.base_url or "OpenAI") for name, one in self._providers.items()},
            http_port=self.http_port,
        )
