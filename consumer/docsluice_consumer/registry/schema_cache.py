"""The schemas that records name, looked up once each. While the registry is away, records wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from docsluice.registry.avro import NoSchema
from docsluice.registry.client import NotRegistered, RegistryAway
from docsluice.registry.schema import Reference, RegisteredSchema, ValueReader, value_reader
from docsluice.registry.wire_format import SchemaName
from docsluice.validation.record_bytes import Unreadable

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_REPLICATION_SECONDS = 1.0
"""How long an id that is unknown is given. Registries replicate, and a record may come first."""
_UNKNOWN_SECONDS = 30.0
"""How long an unknown id is not asked for again."""
_MOST_SCHEMAS = 1000
_MOST_REFERENCES = 100
_REMEDY = "see to the registry that DOCSLUICE_SCHEMA_REGISTRY_URL names; docsluice check tells more"


class Registry(Protocol):
    """What is asked of a registry. See `docsluice.registry.client.RegistryClient`."""

    async def schema(self, name: SchemaName) -> RegisteredSchema: ...  # noqa: D102 - see there

    async def referenced(self, reference: Reference) -> RegisteredSchema: ...  # noqa: D102

    async def close(self) -> None: ...  # noqa: D102


class SchemaCache:
    """Readers of values by schema. An id never gets another schema, so a reader is kept until there are too many.

    `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._sleep = sleep
        self._found: dict[SchemaName, ValueReader | str] = {}
        self._unknown_until: dict[SchemaName, float] = {}
        self._lookups: dict[SchemaName, asyncio.Task[ValueReader | str]] = {}
        self._why_away: str | None = None

    async def reader(self, name: SchemaName) -> ValueReader:
        """See `docsluice_consumer.decode.decode.Schemas`."""
        found = self._kept(name)
        if found is None:
            # Not the record's own: the others of the same schema would lose it if that record were cancelled.
            lookup = self._lookups.get(name)
            if lookup is None:
                lookup = self._lookups[name] = asyncio.create_task(self._looked_up(name), name=f"schema.{name}")
                lookup.add_done_callback(lambda _: self._lookups.pop(name, None))
            found = await asyncio.shield(lookup)
        if isinstance(found, str):
            raise Unreadable(found)
        return found

    async def close(self) -> None:
        """Give up what is being looked up, and close the connections."""
        lookups = [*self._lookups.values()]
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        await self._registry.close()

    def why_not_ready(self) -> str | None:
        """Why the registry is away, for a person, while records wait for it."""
        if self._why_away is None:
            return None
        return f"the schema registry (DOCSLUICE_SCHEMA_REGISTRY_URL) is away: {self._why_away}; records wait for it"

    def _kept(self, name: SchemaName) -> ValueReader | str | None:
        if name in self._unknown_until and self._clock() >= self._unknown_until[name]:
            del self._unknown_until[name], self._found[name]
        return self._found.get(name)

    async def _looked_up(self, name: SchemaName) -> ValueReader | str:
        what = f"schema {'id' if isinstance(name, int) else 'GUID'} {name}"
        try:
            found: ValueReader | str = await self._waited_for(lambda: self._reader(name))
        except NotRegistered as problem:
            found = f"{problem} (DOCSLUICE_SCHEMA_REGISTRY_URL)"
            self._unknown_until[name] = self._clock() + _UNKNOWN_SECONDS
        except NoSchema as problem:
            found = f"the value has {what} of the registry, which cannot be used: {problem}"
        self._found[name] = found
        while len(self._found) > _MOST_SCHEMAS:
            oldest = next(iter(self._found))
            del self._found[oldest]
            self._unknown_until.pop(oldest, None)
        return found

    async def _waited_for(self, ask: Callable[[], Awaitable[ValueReader]]) -> ValueReader:
        is_second = False
        while True:
            try:
                found = await ask()
            except RegistryAway as away:
                self._note_away(str(away))
                await self._sleep(_RETRY_SECONDS)
            except NotRegistered:
                self._note_back()
                if is_second:
                    raise
                is_second = True
                await self._sleep(_REPLICATION_SECONDS)
            except NoSchema:
                self._note_back()
                raise
            else:
                self._note_back()
                return found

    async def _reader(self, name: SchemaName) -> ValueReader:
        schema = await self._registry.schema(name)
        used: dict[Reference, RegisteredSchema] = {}
        await self._gather(schema, used, frozenset())
        return value_reader(schema, [*used.values()])

    async def _gather(
        self, schema: RegisteredSchema, used: dict[Reference, RegisteredSchema], above: frozenset[Reference]
    ) -> None:
        """Fetch what a schema uses, the innermost first."""
        for reference in schema.references:
            if reference in used or reference in above:
                continue
            if len(used) + len(above) >= _MOST_REFERENCES:
                raise NoSchema(f"it uses more than {_MOST_REFERENCES} others")
            one = await self._registry.referenced(reference)
            await self._gather(one, used, above | {reference})
            used[reference] = one

    def _note_away(self, reason: str) -> None:
        if self._why_away is None:
            log.warning("registry.away", reason=reason, meanwhile="records wait for it", remedy=_REMEDY)
        self._why_away = reason

    def _note_back(self) -> None:
        if self._why_away is not None:
            self._why_away = None
            log.warning("registry.back")
