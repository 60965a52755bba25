"""Where objects are: files, web servers, and the buckets of S3, Google and Azure."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import urllib.parse
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from yarl import URL

from docsluice.errors import MissingPackage
from docsluice.network.network_errors import in_words
from docsluice_consumer.objects.locations import Location, Prefix

_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
_PIECE_BYTES = 1024 * 1024
_PROC = Path("/proc/self/fd")
_OK, _FAULT = 200, 500
_NOT_NOW = frozenset({401, 403, 407, 408, 425, 429})
"""Our credentials, or the server's pace. Whose fault it is, others tell."""
_OF_THE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL})
_REDIRECTS = range(300, 400)


class NoObject(Exception):
    """The object's own fault: it is not there, may not be read, or is no object. The message ends a sentence."""


class ObjectTooLarge(Exception):
    """It has more bytes than allowed."""


class StoreAway(Exception):
    """No answer, or not now, or not to us. Whether it is the store's fault, the other objects tell.

    The message says why, without secrets.
    """


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of an object, and what its store says of their charset."""

    data: bytes
    charset: str = ""


class ObjectStore(Protocol):
    """Reads objects of some kinds of places."""

    async def read(self, location: Location, *, most_bytes: int) -> Content:
        """The object, whole.

        Raises:
            NoObject: there is none, or it may not be read.
            ObjectTooLarge: it has more bytes. No more than these were read.
            StoreAway: the store does not answer, or not now.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Files:
    """Files of this machine, below the prefixes once all links are followed."""

    def __init__(self, prefixes: Sequence[Prefix]) -> None:
        self._roots = [one.path for one in prefixes if one.scheme == "file"]

    async def read(self, location: Location, *, most_bytes: int) -> Content:
        """See `ObjectStore.read`."""
        try:
            async with asyncio.timeout(_SECONDS):
                return await asyncio.to_thread(self._read, urllib.parse.unquote(location.path), most_bytes)
        except TimeoutError:
            raise StoreAway("the disk does not answer in time") from None

    async def close(self) -> None:
        """Nothing is open."""

    def _read(self, path: str, most_bytes: int) -> Content:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NoObject("is not there") from None
        except OSError as error:
            if error.errno in _OF_THE_FILE:
                raise NoObject(f"cannot be read: {error.strerror}") from None
            raise StoreAway(f"files cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NoObject("is no file")
        with os.fdopen(descriptor, "rb") as file:
            # The file that is open, and not what now has its name.
            real = os.path.realpath(f"/proc/self/fd/{descriptor}" if _PROC.exists() else path)
            roots = (os.path.realpath(urllib.parse.unquote(root)) for root in self._roots)
            if not any(real.startswith(f"{root.rstrip('/')}/") for root in roots):
                raise NoObject("leads out of the allowed folders by a link")
            try:
                data = file.read(most_bytes + 1)
            except OSError as error:
                raise StoreAway(f"the disk does not let it be read: {error.strerror}") from None
        if len(data) > most_bytes:
            raise ObjectTooLarge
        return Content(data)


class WebServers:
    """Objects over HTTPS. A redirect could lead anywhere, so none is followed."""

    def __init__(self, *, seconds: float = _SECONDS, ssl: Any = True) -> None:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS)
        self._session: aiohttp.ClientSession | None = None
        self._open: Callable[[], aiohttp.ClientSession] = lambda: aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(ssl=ssl), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def read(self, location: Location, *, most_bytes: int) -> Content:
        """See `ObjectStore.read`."""
        session = self._session = self._session or self._open()
        # As it was checked, and as it was signed.
        url = URL(
            f"https://{location.host}{location.path}{f'?{location.query}' if location.query else ''}", encoded=True
        )
        try:
            async with session.get(url, allow_redirects=False) as response:
                if response.status in _REDIRECTS:
                    raise NoObject(f"is redirected (status {response.status}), and redirects are not followed")
                if response.status in _NOT_NOW or response.status >= _FAULT:
                    raise StoreAway(f"{location.host} answers with status {response.status}")
                if response.status != _OK:
                    raise NoObject(f"is not given (status {response.status})")
                data = await _bounded(response.content.iter_chunked(_PIECE_BYTES), most_bytes)
                return Content(data, response.charset or "")
        except TimeoutError:
            raise StoreAway(f"no answer from {location.host} in time") from None
        except aiohttp.InvalidURL:
            raise NoObject("is no address that can be asked for") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise StoreAway(f"{location.host}: {in_words(error)}") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class Buckets:
    """S3, Google Cloud Storage and Azure Blob Storage, with the credentials that their own tools find.

    Raises:
        MissingPackage: from `read`, without the extra.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._stores: dict[tuple[str, str], Any] = {}

    async def read(self, location: Location, *, most_bytes: int) -> Content:
        """See `ObjectStore.read`."""
        try:
            import obstore  # noqa: PLC0415 - an extra, for those who have buckets
            from obstore import exceptions  # noqa: PLC0415
        except ImportError:
            raise MissingPackage("pip install 'docsluice[objects]' reads s3:, gs: and az:") from None
        try:
            async with asyncio.timeout(_SECONDS):
                found = await obstore.get_async(self._store(location), urllib.parse.unquote(location.path))
                if found.meta["size"] > most_bytes:
                    raise ObjectTooLarge
                return Content(await _bounded(found.stream(), most_bytes))
        except FileNotFoundError:
            raise NoObject("is not there") from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            raise StoreAway(f"{location.place} does not let us read with our credentials") from None
        except TimeoutError:
            raise StoreAway(f"no answer from {location.place} in time") from None
        except (exceptions.InvalidPathError, ValueError):
            raise NoObject("has a path that the store does not know") from None
        except (exceptions.BaseError, OSError) as error:
            # Its own words hold the address with its signature.
            raise StoreAway(f"{location.place} cannot be read ({type(error).__name__})") from None

    async def close(self) -> None:
        """Forget the stores, which close by themselves."""
        self._stores.clear()

    def _store(self, location: Location) -> Any:
        from obstore.store import from_url  # noqa: PLC0415 - as above

        place = (location.scheme, location.host)
        if place not in self._stores:
            options = {"retry_config": {"max_retries": 0}, **self._options}
            self._stores[place] = from_url(location.place, **options)
        return self._stores[place]


async def _bounded(pieces: AsyncIterable[Any], most_bytes: int) -> bytes:
    """All pieces, as long as they are no more than allowed.

    Raises:
        ObjectTooLarge: they are more.
    """
    data = bytearray()
    async for piece in pieces:
        data += memoryview(piece)
        if len(data) > most_bytes:
            raise ObjectTooLarge
    return bytes(data)
