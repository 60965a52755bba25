"""A schema registry in this process, with what the tests need of Confluent's API. Its answers are those of Apicurio."""

from __future__ import annotations

import base64
import json
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

_MEDIA = "application/vnd.schemaregistry.v1+json"


@dataclass
class FakeRegistry:
    """Subjects and ids. `broken` is a status that every answer has, `calls` are the paths that were asked for."""

    broken: int | None = None
    page: str = "<html>down</html>"
    """What it says when it is broken."""
    credentials: str | None = None
    is_compatible: bool = True
    calls: list[str] = field(default_factory=list)
    by_id: dict[int, dict[str, Any]] = field(default_factory=dict)
    by_guid: dict[str, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    url: str = ""
    _runner: web.AppRunner | None = None
    _port: int = 0

    def add(self, schema: Any, *, kind: str = "AVRO", subject: str = "s", references: Any = ()) -> int:
        """Register a schema, and return its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        found = {"schema": text, "schemaType": kind, "references": list(references)}
        same = next((number for number, one in self.by_id.items() if one == found), None)
        number = same or len(self.by_id) + 1
        self.by_id[number] = found
        self.by_guid[str(uuid.UUID(int=number))] = found
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port again after a stop."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    async def stop(self) -> None:
        """Be gone."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.raw_path.removeprefix("/apis/ccompat/v7/")
        self.calls.append(path)
        if self.broken is not None:
            return web.Response(status=self.broken, text=self.page)
        wanted = self.credentials and "Basic " + base64.b64encode(self.credentials.encode()).decode()
        if wanted and request.headers.get("Authorization") != wanted:
            return _said(401, {"error_code": 401, "message": "Unauthorized"})
        return await self._found_at(request, path)

    async def _found_at(self, request: web.Request, path: str) -> web.Response:  # noqa: PLR0911 - a line a path
        parts = [urllib.parse.unquote(part) for part in path.partition("?")[0].split("/")]
        body = await request.json() if request.method == "POST" else {}
        match [request.method, *parts]:
            case ["GET", "schemas", "types"]:
                return _said(200, ["JSON", "PROTOBUF", "AVRO"])
            case ["GET", "schemas", "ids", number]:
                return _found(self.by_id.get(int(number)), 40403, f"No content with ID '{number}' was found.")
            case ["GET", "schemas", "guids", guid]:
                return _found(self.by_guid.get(guid), 40403, "Schema not found")
            case ["GET", "subjects", subject, "versions", version]:
                versions = self.subjects.get(subject, [])
                at = len(versions) if version == "latest" else int(version)
                found = self.by_id[versions[at - 1]] if 0 < at <= len(versions) else None
                return _found(found, 40402 if versions else 40401, "not found")
            case ["POST", "subjects", subject]:
                ids = [one for one in self.subjects.get(subject, []) if self.by_id[one]["schema"] == body["schema"]]
                code = 40403 if subject in self.subjects else 40401
                return _found({"id": ids[0]} if ids else None, code, "not found")
            case ["POST", "compatibility", "subjects", subject, "versions", "latest"]:
                return _said(200, {"is_compatible": self.is_compatible or subject not in self.subjects})
            case ["POST", "subjects", subject, "versions"]:
                if not self.is_compatible and subject in self.subjects:
                    return _said(409, {"error_code": 409, "message": "Incompatible artifact"})
                return _said(200, {"id": self.add(body["schema"], subject=subject)})
            case _:
                return web.Response(status=404)


def _found(found: dict[str, Any] | None, code: int, message: str) -> web.Response:
    return _said(404, {"error_code": code, "message": message}) if found is None else _said(200, found)


def _said(status: int, body: Any) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type=_MEDIA)
