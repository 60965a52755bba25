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


class ObjectReader:
    """Reads what events refer to. A store that is away is waited for.

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
        self._why_away: str | None = None

    @asynccontextmanager
    async def whole(self, read: ReadEvent) -> AsyncIterator[ReadEvent]:
        """The event with the text that it refers to. Its room is held while inside.

        Raises:
            RecordRejected: it refers to nothing that is allowed, there, small enough and a text.
        """
        location = self._location(read.event.text)
        async with self._turn.holding(self._most_bytes) as keep:
            content = await self._content(location)
            keep(len(content.data))
            text = self._text(content, location)
            yield read._replace(event=read.event.model_copy(update={"text": text}), is_reference=False)

    async def close(self) -> None:
        """Close the connections."""
        for store in {id(store): store for store in self._stores.values()}.values():
            await store.close()

    def why_not_ready(self) -> str | None:
        """Why a store is away, for a person, while documents wait for it."""
        return None if self._why_away is None else f"a store of documents is away: {self._why_away}; they wait for it"

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

    async def _content(self, location: Location) -> Content:
        pause = 0.5
        while True:
            try:
                found = await self._stores[location.scheme].read(location, most_bytes=self._most_bytes)
            except StoreAway as away:
                if self._why_away is None:
                    log.warning("objects.away", reason=str(away), meanwhile=_REMEDY)
                self._why_away = str(away)
                await self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except NoObject as problem:
                self._note_back()
                why = f"uri: {location.shown} {problem}"
                raise _rejected(DeadLetterReason.UNDECODABLE, why, cause=f"uri: {problem}") from None
            except ObjectTooLarge:
                self._note_back()
                bound = f"the {self._most_bytes:,} bytes of DOCSLUICE_MAX_DOCUMENT_BYTES"
                why = f"uri: {location.shown} has more than {bound}"
                raise _rejected(DeadLetterReason.TOO_LARGE, why, cause="uri: too large") from None
            else:
                self._note_back()
                return found

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

    def _note_back(self) -> None:
        if self._why_away is not None:
            self._why_away = None
            log.warning("objects.back")


def _rejected(reason: DeadLetterReason, why: str, *, cause: str | None = None) -> RecordRejected:
    """For the log, without the object's name, which may tell whose document it is."""
    return RecordRejected(reason, why, stage=Stage.DECODE, cause=cause or why)


NO_OBJECTS = ObjectReader(stores={}, prefixes=(), most_bytes=1, held_bytes=1)
"""Where documents by reference are not allowed."""
