"""The schema of results in a registry: put there at the start, if their readers get on with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from docsluice.registry.client import RegistrationRefused, RegistryAway, RegistryClient

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_REMEDY = "see to the registry that DOCSLUICE_SCHEMA_REGISTRY_URL names; docsluice check tells more"
Changed = Callable[[str], list[str]]
"""Names the fields that differ from those of an older schema."""


class Incompatible(Exception):
    """A schema that a subject cannot get. The message names the subject, and the field where it is known."""


def subject_of(topic: str) -> str:
    """The subject of a topic's values, as Confluent's serializers name it."""
    return f"{topic}-value"


async def registered(
    registry: RegistryClient,
    topics: Iterable[str],
    schema: str,
    *,
    changed: Changed,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> dict[str, int]:
    """Put the schema under the subject of each topic. The ids that it has there, by topic.

    While the registry is away, it is waited for.

    Raises:
        Incompatible: the readers of a subject would not get on with it, or the registry refuses it.
    """
    is_away = False
    while True:
        try:
            ids = {topic: await _id(registry, subject_of(topic), schema, changed) for topic in topics}
        except RegistryAway as away:
            if not is_away:
                log.warning("registry.away", reason=str(away), meanwhile="the start waits for it", remedy=_REMEDY)
            is_away = True
            await sleep(_RETRY_SECONDS)
        else:
            if is_away:
                log.warning("registry.back")
            return ids


async def problem_with(registry: RegistryClient, subject: str, schema: str, changed: Changed) -> str | None:
    """Why a subject cannot get a schema. None if it can, or has it."""
    if await registry.id_of(subject, schema) is not None:
        return None
    if (said := await registry.problem_with(subject, schema)) is None:
        return None
    fields = changed(await registry.latest(subject) or "")
    return f"{subject}: {'; '.join([*fields, said])}"


async def _id(registry: RegistryClient, subject: str, schema: str, changed: Changed) -> int:
    """An id that is there is taken, for not everybody may register."""
    if (found := await registry.id_of(subject, schema)) is not None:
        return found
    if (problem := await problem_with(registry, subject, schema, changed)) is not None:
        raise Incompatible(problem)
    try:
        return await registry.register(subject, schema)
    except RegistrationRefused as refused:
        raise Incompatible(f"{subject}: {refused}") from None
