"""The texts that events refer to: read when the document's turn comes, and not more of them than memory is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from docsluice.messages import DeadLetterReason, Stage
from docsluice.validation.record_bytes import Unreadable, in_utf8, text_of
from docsluice_consumer.decode.decode import ReadEvent
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.objects.locations import Location, NotAllowed, Prefix, location_of
from docsluice_consumer.objects.stores import Content, NoObject, ObjectStore, ObjectTooLarge, StoreAway

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 30.0
_MOST_FAILURES = 6
"""From so many on, an object that is not given while others of its store are is a document's fault."""
_REMEDY = "see to the store and to our rights there; documents wait for it"


@dataclass(slots=True)
class _Turn:
    """What documents by reference hold in memory, first come, first served."""

    free: int
    queue: asyncio.Lock
    changed: asyncio.Event

    @asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[Callable[[int], None]]:
        """Hold room for so much, and give back what turns out not to be needed: all but what the function is told."""
        async with self.queue:
            while self.free < size:
                self.changed.clear()
                await self.changed.wait()
            self.free -= size
        held = size

        def keep(needed: int) -> None:
            nonlocal held
            self.free += held - needed
            held = needed
            self.changed.set()

        try:
            yield keep
        finally:
            keep(0)


@dataclass(slots=True)
class _Trial:
    """One document's way to its text. `given_before` is how many objects its store had given when it first failed."""

    location: Location
    failures: int = 0
    given_before: int | None = None


class ObjectReader:
    """Reads what events refer to. A store that gives nothing is waited for.

    Each holds room for `most_bytes` while it is read, and for what it has until its document has ended. All together
    hold up to `held_bytes`. `charset` is what the texts are in, if they are not in UTF-8.
    """

    def __init__(
        self,
        *,
        stores: Mapping[str, ObjectStore],
        prefixes: Sequence[Prefix],
        most_bytes: int,
        held_bytes: int,
        charset: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._stores = stores
        self._prefixes = prefixes
        self._most_bytes = most_bytes
        self._charset = charset
        self._turn = _Turn(max(held_bytes, most_bytes), asyncio.Lock(), asyncio.Event())
        self._sleep = sleep
        self._why_away: dict[str, str] = {}
        """By store."""
        self._given: dict[str, int] = {}
        """How many objects each store has given."""

    @asynccontextmanager
    async def whole(self, read: ReadEvent) -> AsyncIterator[ReadEvent]:
        """The event with the text that it refers to. Its room is held while inside.

        Raises:
            RecordRejected: it refers to nothing that is allowed, there, small enough and a text.
        """
        trial = _Trial(self._location(read.event.text))
        while True:
            async with self._turn.holding(self._most_bytes) as keep:
                if (content := await self._content(trial)) is not None:
                    keep(len(content.data))
                    text, content = self._text(content, trial.location), None
                    yield read._replace(event=read.event.model_copy(update={"text": text}), is_reference=False)
                    return
            # Without its room: what waits for one store must not keep others out.
            await self._sleep(min(2.0 ** min(trial.failures - 2, 10), _LONGEST_PAUSE_SECONDS))

    async def close(self) -> None:
        """Close the connections."""
        for store in {id(store): store for store in self._stores.values()}.values():
            await store.close()

    def why_not_ready(self) -> str | None:
        """Why a store is away, for a person, while documents wait for it."""
        why = next(iter(self._why_away.values()), None)
        return None if why is None else f"a store of documents is away: {why}; they wait for it"

    def _location(self, uri: str) -> Location:
        if not self._prefixes:
            why = (
                "uri: documents by reference are not allowed here; DOCSLUICE_OBJECT_PREFIXES names the places that are"
            )
            raise _rejected(DeadLetterReason.INVALID_EVENT, why)
        try:
            return location_of(uri, self._prefixes)
        except NotAllowed as problem:
            raise _rejected(DeadLetterReason.INVALID_EVENT, f"uri: {problem}") from None

    async def _content(self, trial: _Trial) -> Content | None:
        """The object. None if its store is away, and is to be asked again."""
        location, place = trial.location, trial.location.place
        given = self._given.setdefault(place, 0)
        try:
            found = await self._stores[location.scheme].read(location, most_bytes=self._most_bytes)
        except StoreAway as away:
            trial.failures += 1
            trial.given_before = given if trial.given_before is None else trial.given_before
            gives_others = self._given[place] > trial.given_before
            if trial.failures >= _MOST_FAILURES and gives_others:
                why = f"uri: {location.shown} is not given, and others are: {away}"
                raise _rejected(DeadLetterReason.UNDECODABLE, why, cause=f"uri: {away}") from None
            if trial.failures > 1 and not gives_others:  # a first failure may be the object's own
                self._note_away(place, str(away))
            return None
        except NoObject as problem:
            self._note_back(place)
            why = f"uri: {location.shown} {problem}"
            raise _rejected(DeadLetterReason.UNDECODABLE, why, cause=f"uri: {problem}") from None
        except ObjectTooLarge:
            self._note_back(place)
            bound = f"the {self._most_bytes:,} bytes of DOCSLUICE_MAX_DOCUMENT_BYTES"
            why = f"uri: {location.shown} has more than {bound}"
            raise _rejected(DeadLetterReason.TOO_LARGE, why, cause="uri: too large") from None
        self._given[place] += 1
        self._note_back(place)
        return found

    def _note_away(self, place: str, reason: str) -> None:
        if place not in self._why_away:
            log.warning("objects.away", store=place, reason=reason, meanwhile=_REMEDY)
        self._why_away[place] = reason

    def _note_back(self, place: str) -> None:
        if self._why_away.pop(place, None) is not None:
            log.warning("objects.back", store=place)

    def _text(self, content: Content, location: Location) -> str:
        what = f"uri: what {location.shown} holds"
        try:
            if self._charset is not None:
                text = text_of(in_utf8(content.data, self._charset, what=what), what=what)
            else:
                text = text_of(content.data, what=what, charset=content.charset)
        except Unreadable as problem:
            raise _rejected(DeadLetterReason.UNDECODABLE, str(problem), cause="uri: no text") from None
        if not text.strip():
            raise _rejected(DeadLetterReason.INVALID_EVENT, f"{what} is blank", cause="uri: blank")
        return text


def _rejected(reason: DeadLetterReason, why: str, *, cause: str | None = None) -> RecordRejected:
    """For the log, without the object's name, which may tell whose document it is."""
    return RecordRejected(reason, why, stage=Stage.DECODE, cause=cause or why)


NO_OBJECTS = ObjectReader(stores={}, prefixes=(), most_bytes=1, held_bytes=1)
"""Where documents by reference are not allowed."""
