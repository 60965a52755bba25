"""A schema registry over HTTP, in the words of Confluent's API. Apicurio, Karapace and Redpanda speak it, too."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import yarl

from docsluice.network.network_errors import in_words
from docsluice.network.urls import shown
from docsluice.registry.avro import NoSchema
from docsluice.registry.schema import Reference, RegisteredSchema
from docsluice.registry.wire_format import SchemaName
from docsluice.validation.event_problems import shown_name
from docsluice.validation.json_values import json_value

_TIMEOUT_SECONDS = 10.0
_MOST_BYTES = 4 * 1024 * 1024
_CONNECTIONS = 4
_LARGEST_ID = 2**31 - 1
"""Registries ask no database for a larger one, and say that there is no such path."""
_MEDIA: Final = "application/vnd.schemaregistry.v1+json"
_WORDS_CHARACTERS = 300
_OK, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 200, 404, 409, 422
_NOT_ALLOWED = frozenset({401, 403})
_NO_SUCH: Final = range(40400, 40500)
"""Codes of a registry that is well, and does not have what it was asked for."""


class RegistryAway(Exception):
    """The registry gives no answer, or none that can be used. The message says why."""


class NotRegistered(Exception):
    """The registry has no such schema. The message says which."""


class RegistrationRefused(Exception):
    """The registry does not take a schema under a subject. The message has its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAddress:
    """Where a registry is, and as whom it is asked."""

    url: str
    username: str | None = None
    password: str | None = None
    cafile: str | None = None

    @property
    def shown(self) -> str:
        """The address for everybody to see."""
        return shown(self.url)


class RegistryClient:
    """Asks a registry. It follows no redirect, so credentials go to the address that was named.

    Each method raises `RegistryAway` if no answer comes that can be used.
    """

    def __init__(self, address: RegistryAddress, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self.address = address
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def schema(self, name: SchemaName) -> RegisteredSchema:
        """The schema of an id or a GUID.

        Raises:
            NotRegistered: there is none.
            NoSchema: it is of no use.
        """
        is_id = isinstance(name, int)
        path, what = ("ids", f"schema id {name}") if is_id else ("guids", f"schema GUID {name}")
        if isinstance(name, int) and name > _LARGEST_ID:
            raise NotRegistered(f"{what} is none of a registry")
        status, found = await self._asked("GET", f"schemas/{path}/{name}")
        # A registry without GUIDs has no such path. A record that names one may not stop the others.
        if _is_no_such(status, found) or (status == _NOT_FOUND and not is_id):
            raise NotRegistered(f"{what} is not in the registry {self.address.shown}")
        return _schema(self._checked(status, found))

    async def referenced(self, reference: Reference) -> RegisteredSchema:
        """The schema that another one uses. Raises as `schema`."""
        status, found = await self._asked("GET", f"{_subject(reference.subject)}/versions/{reference.version}")
        if _is_no_such(status, found):
            where = f"{shown_name(reference.subject)} version {reference.version}"
            raise NotRegistered(f"it uses {where}, which is not in the registry {self.address.shown}")
        return _schema(self._checked(status, found))

    async def id_of(self, subject: str, schema: str) -> int | None:
        """The id of a schema under a subject. None if it is not registered there."""
        status, found = await self._asked("POST", _subject(subject), schema)
        return None if _is_no_such(status, found) else self._id(status, found)

    async def latest(self, subject: str) -> str | None:
        """The newest schema under a subject. None if there is none."""
        status, found = await self._asked("GET", f"{_subject(subject)}/versions/latest")
        return None if _is_no_such(status, found) else _schema(self._checked(status, found)).text

    async def problem_with(self, subject: str, schema: str) -> str | None:
        """Why readers of a subject would not get on with a new schema, in the registry's words. None if they would."""
        path = f"compatibility/{_subject(subject)}/versions/latest?verbose=true"
        status, found = await self._asked("POST", path, schema)
        if _is_no_such(status, found):
            return None
        answer = self._checked(status, found)
        if answer.get("is_compatible") is True:
            return None
        said = answer.get("messages")
        return _words("; ".join(map(str, said)) if isinstance(said, list) else "") or "it is not compatible"

    async def register(self, subject: str, schema: str) -> int:
        """Put a schema under a subject, and return its id.

        Raises:
            RegistrationRefused: the registry does not take it, or not from us.
        """
        status, found = await self._asked("POST", f"{_subject(subject)}/versions", schema)
        if status in {_CONFLICT, _UNPROCESSABLE, *_NOT_ALLOWED}:
            raise RegistrationRefused(_why(status, found))
        return self._id(status, found)

    async def try_it(self) -> None:
        """Ask for something that every registry has."""
        status, found = await self._asked("GET", "schemas/types")
        if status != _OK:
            raise self._away(status, found)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _asked(self, method: str, path: str, schema: str | None = None) -> tuple[int, Any]:
        """The status and the body of an answer. None for a body that is no JSON."""
        url = yarl.URL(f"{self.address.url.rstrip('/')}/{path}", encoded=True)
        body = None if schema is None else json.dumps({"schema": schema, "schemaType": "AVRO"})
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._opened().request(method, url, data=body, allow_redirects=False) as response,
            ):
                read = bytearray()
                async for part in response.content.iter_chunked(64 * 1024):
                    read += part
                    if len(read) > _MOST_BYTES and response.status == _OK:
                        raise NoSchema(f"it has more than {_MOST_BYTES:,} bytes")
                    if len(read) > _MOST_BYTES:
                        return response.status, None  # a page about a fault says nothing about a schema
        except (OSError, aiohttp.ClientError) as error:
            raise RegistryAway(_in_words(error)) from None
        try:
            return response.status, json_value(bytes(read))
        except ValueError:
            return response.status, None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            address = self.address
            tls = ssl.create_default_context(cafile=address.cafile)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": f"{_MEDIA}, application/json", "Content-Type": _MEDIA} | _credentials(address),
            )
        return self._session

    def _checked(self, status: int, found: Any) -> Mapping[str, Any]:
        if status != _OK or not isinstance(found, dict):
            raise self._away(status, found)
        return found

    def _id(self, status: int, found: Any) -> int:
        schema_id = self._checked(status, found).get("id")
        if not isinstance(schema_id, int) or not 0 <= schema_id < 2**32:
            raise RegistryAway("it gives no id for a schema")
        return schema_id

    def _away(self, status: int, found: Any) -> RegistryAway:
        if status in _NOT_ALLOWED:
            return RegistryAway(
                f"HTTP {status}: it refuses DOCSLUICE_SCHEMA_REGISTRY_USERNAME and its password"
                if self.address.username
                else f"HTTP {status}: it wants DOCSLUICE_SCHEMA_REGISTRY_USERNAME and its password"
            )
        if status in {_OK, _NOT_FOUND}:
            said = "no JSON" if status == _OK else f"HTTP {status}"
            return RegistryAway(
                f"{said}: there is no registry at DOCSLUICE_SCHEMA_REGISTRY_URL, or its path is missing"
            )
        return RegistryAway(_why(status, found))


def _credentials(address: RegistryAddress) -> dict[str, str]:
    if not address.username:
        return {}
    both = f"{address.username}:{address.password or ''}"
    return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}


def _subject(name: str) -> str:
    return f"subjects/{urllib.parse.quote(name, safe='', errors='replace')}"


def _is_no_such(status: int, found: Any) -> bool:
    code = found.get("error_code") if isinstance(found, dict) else None
    return status == _NOT_FOUND and isinstance(code, int) and code in _NO_SUCH


def _schema(found: Mapping[str, Any]) -> RegisteredSchema:
    text, kind, references = found.get("schema"), found.get("schemaType") or "AVRO", found.get("references") or []
    try:
        used = tuple(Reference(str(one["subject"]), int(one["version"])) for one in references)
    except (TypeError, KeyError, ValueError, OverflowError):
        raise NoSchema("its references are none") from None
    if not isinstance(text, str) or not isinstance(kind, str):
        raise NoSchema("the registry gives no text for it")
    return RegisteredSchema(kind.upper(), text, used)


def _in_words(error: Exception) -> str:
    cause = getattr(error, "os_error", None) or error.__cause__ or error
    return in_words(cause if isinstance(cause, OSError) else ConnectionError())


def _why(status: int, found: Any) -> str:
    said = found.get("message") if isinstance(found, dict) else None
    words = _words(said) if isinstance(said, str) else ""
    return f"HTTP {status}: {words}" if words else f"HTTP {status}"


def _words(said: str) -> str:
    return shown_name(" ".join(said.split()), most=_WORDS_CHARACTERS)
