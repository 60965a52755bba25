"""Documents by reference: files, a web server with TLS, and a server that speaks S3. Then all of it in the service."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from docsluice_consumer.objects.locations import Location, location_of, prefix_of
from docsluice_consumer.objects.stores import (
    Buckets,
    Content,
    Files,
    NoObject,
    ObjectStore,
    ObjectTooLarge,
    StoreAway,
    WebServers,
)
from docsluice_local.process import free_port
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.certificates import self_signed
from tests.integration.wire import Record, Wire, serving

MOST = 1000
_CODES = {404: "NoSuchKey", 403: "AccessDenied", 503: "SlowDown", 401: "Unauthorized"}


@dataclass
class Site:
    """An HTTP server with objects by path. A number in place of bytes is a status."""

    objects: dict[str, bytes | int]
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        found = self.objects.get(request.path, 404)
        if isinstance(found, bytes):
            return web.Response(body=found, headers={"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})
        if found == 302:
            return web.Response(status=302, headers={"Location": "/in/good.txt"})
        code = _CODES.get(found, "InternalError")
        return web.Response(status=found, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        app = web.Application()
        app.add_routes([web.get("/{path:.*}", self.answer)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "localhost", port := free_port(), ssl_context=tls).start()
        try:
            yield f"localhost:{port}"
        finally:
            await runner.cleanup()


@dataclass
class Place:
    """A store, and how an object of this name is called there."""

    store: ObjectStore
    uri: Callable[[str], str]
    prefix: str

    async def read(self, name: str, *, most: int = MOST) -> Content:
        location = location_of(self.uri(name), [prefix_of(self.prefix)])
        return await self.store.read(location, most_bytes=most)


OBJECTS: dict[str, bytes | int] = {"good.txt": b"The text.", "large.txt": b"x" * (MOST + 1), "a b.txt": b"blank"}
FAULTS: dict[str, bytes | int] = {"forbidden.txt": 403, "busy.txt": 503, "moved.txt": 302}


@contextlib.asynccontextmanager
async def _files(folder: Path) -> AsyncIterator[Place]:
    inside = folder / "in"
    inside.mkdir()
    for name, data in OBJECTS.items():
        assert isinstance(data, bytes)
        (inside / name).write_bytes(data)
    prefix = f"file://{inside}/"
    yield Place(Files([prefix_of(prefix)]), lambda name: f"{prefix}{name.replace(' ', '%20')}", prefix)


@contextlib.asynccontextmanager
async def _web(folder: Path) -> AsyncIterator[Place]:
    certificate, store = self_signed(folder)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(store)
    site = Site({f"/in/{name}": data for name, data in (OBJECTS | FAULTS).items()})
    async with site.running(tls) as host:
        servers = WebServers(seconds=5, ssl=ssl.create_default_context(cafile=certificate))
        prefix = f"https://{host}/in/"
        yield Place(servers, lambda name: f"{prefix}{name.replace(' ', '%20')}?signature=secret", prefix)
        await servers.close()


@contextlib.asynccontextmanager
async def _s3(_folder: Path) -> AsyncIterator[Place]:
    site = Site({f"/bucket/in/{name}": data for name, data in (OBJECTS | FAULTS).items()})
    async with site.running() as host:
        options = {"access_key_id": "id", "secret_access_key": "secret", "region": "us-east-1"}
        buckets = Buckets(endpoint=f"http://{host}", client_options={"allow_http": True}, **options)
        yield Place(buckets, lambda name: f"s3://bucket/in/{name.replace(' ', '%20')}", "s3://bucket/in/")
        await buckets.close()


@pytest.fixture(params=[_files, _web, _s3], ids=["file", "https", "s3"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with request.param(tmp_path) as found:
        yield found


async def test_every_store_keeps_the_contract(place: Place) -> None:
    """What is there is read whole, and what is not there or too large is told apart."""
    assert (await place.read("good.txt")).data == b"The text."
    assert (await place.read("a b.txt")).data == b"blank"
    assert len((await place.read("large.txt", most=MOST + 1)).data) == MOST + 1
    with pytest.raises(ObjectTooLarge):
        await place.read("large.txt")
    with pytest.raises(NoObject, match=r"is not (there|given)"):
        await place.read("missing.txt")


@pytest.mark.parametrize("kind", [_web, _s3], ids=["https", "s3"])
async def test_a_servers_faults_are_told_apart(
    kind: Callable[[Path], contextlib.AbstractAsyncContextManager[Place]], tmp_path: Path
) -> None:
    """What is forbidden or busy is not given now. Whose fault that is, others tell. No secret is in the words."""
    async with kind(tmp_path) as place:
        with pytest.raises(StoreAway) as forbidden:
            await place.read("forbidden.txt")
        with pytest.raises(StoreAway) as busy:
            await place.read("busy.txt")
    assert not any("secret" in str(one.value) for one in (forbidden, busy))


async def test_a_server_that_is_gone_is_away() -> None:
    """Whichever it is, and without a secret in the words."""
    host = f"localhost:{free_port()}"
    options = {"access_key_id": "id", "secret_access_key": "secret", "region": "us-east-1"}
    stores: list[tuple[ObjectStore, Location]] = [
        (WebServers(seconds=5), Location("https", host, "/a", "signature=secret")),
        (Buckets(endpoint=f"http://{host}", client_options={"allow_http": True}, **options), Location("s3", "b", "a")),
    ]
    for store, location in stores:
        with pytest.raises(StoreAway) as gone:
            await store.read(location, most_bytes=MOST)
        assert "secret" not in str(gone.value)
        await store.close()


async def test_an_address_is_asked_for_as_it_was_checked(tmp_path: Path) -> None:
    """Byte for byte: it may be signed."""
    site = Site({})
    async with site.running() as host:
        servers = WebServers(seconds=5)
        session = servers._session = servers._open()
        original = session.get
        session.get = lambda url, **more: original(url.with_scheme("http"), **more)  # type: ignore[method-assign]
        with pytest.raises(NoObject):
            await servers.read(Location("https", host, "/in/%61", "sig=a%2Fb%3D%3a&x=%7e+1"), most_bytes=MOST)
        await servers.close()
    assert site.asked[0].endswith("sig=a%2Fb%3D%3a&x=%7e+1")


async def test_no_redirect_is_followed(tmp_path: Path) -> None:
    """It could lead anywhere."""
    async with _web(tmp_path) as place:
        with pytest.raises(NoObject, match="redirects are not followed"):
            await place.read("moved.txt")


async def test_a_certificate_that_nobody_vouches_for_is_the_servers_fault(tmp_path: Path) -> None:
    """Not a reason to read without it."""
    async with _web(tmp_path) as place:
        place.store = strict = WebServers(seconds=5)
        with pytest.raises(StoreAway, match="certificate"):
            await place.read("good.txt")
        await strict.close()


async def test_no_link_leads_out_of_a_folder(tmp_path: Path) -> None:
    """Neither a file's nor a folder's. A pipe is not waited for."""
    async with _files(tmp_path) as place:
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret" / "key").write_text("sk-secret")
        (tmp_path / "in" / "link").symlink_to(tmp_path / "secret" / "key")
        (tmp_path / "in" / "folder").symlink_to(tmp_path / "secret")
        (tmp_path / "in" / "inner").symlink_to(tmp_path / "in" / "good.txt")
        os.mkfifo(tmp_path / "in" / "pipe")
        for name in ("link", "folder/key"):
            with pytest.raises(NoObject, match="leads out of the allowed folders"):
                await place.read(name)
        for name in ("pipe", "folder"):
            with pytest.raises(NoObject):
                await place.read(name)
        assert (await place.read("inner")).data == b"The text."


async def test_documents_by_reference_end_like_any_others(
    wire: Wire, provider: RehearsalProvider, tmp_path: Path
) -> None:
    """As results of their texts, or as dead letters with the event as it came."""
    await wire.create_topics(partitions=2)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.txt").write_text(f"Text {number} of the lighthouse keeper.", encoding="utf-8")
    uris = [f"file://{folder}/{number}.txt" for number in range(20)]
    bad = [f"file://{folder}/missing.txt", f"file://{tmp_path}/other.txt", "s3://bucket/a"]
    events = [{"document_id": f"d{number}", "uri": uri} for number, uri in enumerate([*uris, *bad])]
    await wire.produce([Record(value=json.dumps(one).encode(), key=one["document_id"].encode()) for one in events])
    settings = wire.settings(provider.base_url, object_prefixes=f"file://{folder}/")
    async with serving(settings):
        found = await asyncio.wait_for(wire.outcomes(23), 60)
    results = {one.document_id: one for one in found if not one.is_dead_letter}
    assert results.keys() == {f"d{number}" for number in range(20)}
    assert all(one.fields["excerpt"] == f"Text {name[1:]} of the lighthouse keeper." for name, one in results.items())
    assert {one.document_id: one.reason for one in found if one.is_dead_letter} == {
        "d20": "undecodable",
        "d21": "invalid_event",
        "d22": "invalid_event",
    }


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE, errno.ENOMEM])
async def test_a_machine_in_need_is_no_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It passes by waiting, and no document is lost to it."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    async with _files(tmp_path) as place:
        monkeypatch.setattr("docsluice_consumer.objects.stores.os.open", refuse)
        with pytest.raises(StoreAway):
            await place.read("good.txt")
        monkeypatch.undo()
        assert (await place.read("good.txt")).data == b"The text."


async def test_a_key_that_the_library_does_not_take_is_the_documents_fault(tmp_path: Path) -> None:
    """Its own exception names the object, and is no word of ours."""
    async with _s3(tmp_path) as place:
        with pytest.raises(NoObject):
            await place.read("a//b.txt")
