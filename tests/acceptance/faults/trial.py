"""One scenario in one delivery mode: set up, played, waited for, and accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiokafka.errors import KafkaError

from docsluice_local.process import ChildFailedError
from docsluice_local.rehearsal.provider import rehearsal_process
from tests.acceptance.faults import topics
from tests.acceptance.faults.account import Account, account, document_of, ending_of
from tests.acceptance.faults.feed import Feed
from tests.acceptance.faults.ground import Ground
from tests.acceptance.faults.provider import Provider
from tests.acceptance.faults.replicas import Replica, Replicas, supervised
from tests.acceptance.faults.scenario import Scenario
from tests.acceptance.faults.stage import GaveUp, Names, Stage
from tests.acceptance.faults.watch import watching

Mode = Literal["at_least_once", "exactly_once"]

_LATENCY = ("--median-seconds", "0.15", "--sigma", "0.5")
_CONCURRENCY = 6  # of each replica. The setting is of all together


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What to run. Forked replicas are up sooner than those of `python -m`."""

    scenario: Scenario
    mode: Mode
    seed: int
    documents: int
    settings: Mapping[str, str]
    log_dir: Path
    is_forked: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How it went. `in_flight` is what all replicas had at their kills.

    `notes` are for a person to read. Each crash and each thing that never happened is among them.
    """

    account: Account
    in_flight: int
    resume_seconds: float | None
    crashes: int
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def run(trial: Trial, ground: Ground) -> Outcome:
    """Play the scenario on topics of its own, against a provider of its own."""
    arguments = ["--seed", str(trial.seed), *_LATENCY, *trial.scenario.provider]
    with rehearsal_process(log_path=trial.log_dir / "provider.log", arguments=arguments) as base_url:
        return asyncio.run(_run(trial, ground, Provider(base_url=base_url)))


async def _run(trial: Trial, ground: Ground, provider: Provider) -> Outcome:
    unfinished: list[str] = []
    ground.proxy.swallowed.clear()
    async with _stage(trial, ground, provider) as stage:
        try:
            await trial.scenario.play(stage)
            await stage.until_all_ended()
        except (GaveUp, ChildFailedError, subprocess.TimeoutExpired, KafkaError) as problem:
            unfinished.append(_one_line(problem))
        with contextlib.suppress(subprocess.TimeoutExpired):
            codes = await stage.replicas.terminate()
            # One that was just being started does not know yet how to drain. It has nothing to drain either.
            if set(codes) - {0, -signal.SIGTERM}:
                stage.notes.append(f"exit codes at the end: {codes}")
    try:
        accounted = await _account(trial, stage)
    except TimeoutError as problem:
        unfinished.append(_one_line(problem))
        accounted = account(documents=[], endings=[], calls=await provider.calls(), committed={})
    if accounted.repeated and trial.scenario.repeats_allowed:
        stage.notes.append(f"repeats are allowed: {trial.scenario.repeats_allowed}")
    crashes = stage.replicas.ended_by_themselves
    in_flight = sum(replica.in_flight_at_kills for replica in stage.replicas)
    slots = sum(replica.slots_at_kills for replica in stage.replicas)
    if trial.scenario.only_kills and accounted.paid_again > slots:
        unfinished.append(f"{accounted.paid_again} calls paid again, and {slots} at most were in flight at the kills")
    return Outcome(
        account=accounted,
        in_flight=in_flight,
        resume_seconds=stage.seconds_to_resume(),
        crashes=len(crashes),
        notes=(*stage.notes, *dict.fromkeys(crashes)),
        failures=(*unfinished, *_failures(trial, accounted)),
    )


def _failures(trial: Trial, accounted: Account) -> list[str]:
    """What must never be, each in a sentence."""
    found = []
    if accounted.lost:
        places = ", ".join(f"{place.partition}@{place.offset}" for place in accounted.lost[:10])
        found.append(f"{len(accounted.lost)} lost: {places}")
    if accounted.strangers:
        found.append(f"{accounted.strangers} outcomes of documents that are not there")
    if accounted.repeated and trial.mode == "exactly_once" and not trial.scenario.repeats_allowed:
        found.append(f"{accounted.repeated} repeated")
    if accounted.uncommitted:
        found.append(f"{accounted.uncommitted} ended and are not committed")
    if not accounted.documents:
        found.append("no documents at all")
    return found


@contextlib.asynccontextmanager
async def _stage(trial: Trial, ground: Ground, provider: Provider) -> AsyncIterator[Stage]:
    scenario = trial.scenario
    names = Names(run=f"{scenario.name}-{trial.mode}-{uuid.uuid4().hex[:6]}")
    partitions = {names.input: scenario.partitions, names.results: 3, names.dead_letters: 1}
    await topics.create(ground.direct, partitions, {names.input: scenario.topic})
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": ground.proxied,
        "OPENAI_BASE_URL": provider.base_url,
        "DOCSLUICE_DELIVERY": trial.mode,
        "DOCSLUICE_MODE": "fused",
        "DOCSLUICE_MAX_CONCURRENCY": str(_CONCURRENCY * scenario.replicas),
        "DOCSLUICE_LOG_FORMAT": "json",
        "DOCSLUICE_STATE_DIR": str(trial.log_dir / "state"),
        **names.settings(),
        **scenario.settings,
        **trial.settings,
    }
    members = [
        Replica(
            name=f"{names.run}-{number}",
            settings=settings,
            log_path=trial.log_dir / f"replica-{number}.log",
            is_forked=trial.is_forked,
        )
        for number in range(scenario.replicas)
    ]
    async with (
        watching(ground.direct, [names.results, names.dead_letters]) as watch,
        supervised(Replicas(members)) as replicas,
    ):
        yield Stage(
            names=names,
            ground=ground,
            provider=provider,
            replicas=replicas,
            watch=watch,
            feed=Feed(bootstrap_servers=ground.direct, topic=names.input),
            documents=trial.documents,
            draws=random.Random(f"{trial.seed}/{scenario.name}"),
            exactly_once=trial.mode == "exactly_once",
            timeout_seconds=scenario.timeout_seconds,
        )


async def _account(trial: Trial, stage: Stage) -> Account:
    """Read everything again, from the broker and the provider, when all replicas have gone."""
    direct, names = stage.ground.direct, stage.names
    outcomes = await topics.read_all(direct, names.results, names.dead_letters)
    commits = await topics.committed(direct, names.group)
    return account(
        documents=[found for found in map(document_of, await topics.read_all(direct, names.input)) if found],
        endings=map(ending_of, outcomes),
        calls=await stage.provider.calls(),
        committed={p.partition: commit.offset for p, commit in commits.items() if p.topic == names.input},
    )


def _one_line(problem: Exception) -> str:
    """The last line of what it says: a log's end, where it quotes one."""
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
