"""How many files may be open, and what is done when that is too few."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from docsluice_consumer.errors import ProviderUnavailable
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.runtime.open_files import fitting, http_connections, make_room, why_no_file, why_too_few
from docsluice_consumer.store.sqlite_file import SqliteFile
from docsluice_consumer.store.step_store import StoreAway
from tests.fakes.samples import chat_request

Limits = Callable[[int, int], list[int]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Set a soft and a hard limit as the system would have them. Returns the soft limits that were set since."""

    def given(soft: int, hard: int) -> list[int]:
        set_since: list[int] = []
        now = {"soft": soft}

        def setrlimit(_: int, wanted: tuple[int, int]) -> None:
            if wanted[1] != hard or (hard != resource.RLIM_INFINITY and wanted[0] > hard):
                raise ValueError("not allowed")
            now["soft"] = wanted[0]
            set_since.append(wanted[0])

        monkeypatch.setattr(resource, "getrlimit", lambda _: (now["soft"], hard))
        monkeypatch.setattr(resource, "setrlimit", setrlimit)
        return set_since

    return given


@pytest.mark.parametrize("soft", [1024, resource.RLIM_INFINITY])
def test_a_limit_that_is_enough_is_left_alone(limits: Limits, soft: int) -> None:
    """And nothing is said of it."""
    raised = limits(soft, resource.RLIM_INFINITY)
    with capture_logs() as logs:
        make_room(calls=256, partitions=100)
    assert (raised, logs, fitting(256)) == ([], [], 256)


@pytest.mark.parametrize("hard", [4096, resource.RLIM_INFINITY])
def test_the_soft_limit_is_raised_to_what_is_needed(limits: Limits, hard: int) -> None:
    """No further, and it is said with the numbers. All calls then fit."""
    raised = limits(100, hard)
    with capture_logs() as logs:
        make_room(calls=256)
        make_room(calls=256)
    (entry,) = logs
    assert entry["event"] == "open_files.raised"
    assert (entry["was"], entry["limit"]) == (100, raised[0])
    assert raised == [entry["needed"]]
    assert fitting(256) == 256


def test_many_partitions_need_more(limits: Limits) -> None:
    """Each has a producer of its own. How many there are is known a little later."""
    raised = limits(200, 10_000)
    make_room(calls=16)
    assert raised == []
    make_room(calls=16, partitions=500)
    assert raised == [40 + 64 + 500 * 3 + 16]


def test_with_too_few_files_fewer_calls_go_out(limits: Limits) -> None:
    """The hard limit is taken, it is said what is missing and where to set it, and the calls that fit go out."""
    raised = limits(64, 100)
    with capture_logs() as logs:
        make_room(calls=256)
    assert raised == [100]
    assert [entry["event"] for entry in logs] == ["open_files.raised", "open_files.too_few"]
    assert "ulimit -n is 100, and 256 calls at once need 384 open files" in logs[1]["reason"]
    assert logs[1]["calls_at_once"] == fitting(256) == 36
    assert "DOCSLUICE_MAX_CONCURRENCY" in logs[1]["remedy"]


@pytest.mark.parametrize(("hard", "is_told"), [(159, True), (160, False), (resource.RLIM_INFINITY, False)])
def test_too_few_are_told_before_the_start(limits: Limits, hard: int, *, is_told: bool) -> None:
    """By the hard limit, up to which the start raises the soft one."""
    raised = limits(64, hard)
    why = why_too_few(calls=32)
    assert (why is not None) == is_told
    assert raised == []
    if why is not None:
        assert why.startswith("ulimit -n is 159, and 32 calls at once need 160 open files; raise the limit to 160 (")


def test_a_system_with_a_bound_of_its_own(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some refuse what their hard limit allows. Then it is gone on with what there is."""
    limits(100, 4096)

    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    with capture_logs() as logs:
        make_room(calls=256)
    assert [entry["event"] for entry in logs] == ["open_files.too_few"]
    assert fitting(256) == 36


@pytest.mark.parametrize(("soft", "connections"), [(10, 8), (400, 64), (384, 64), (350, 30), (330, 10), (320, 8)])
def test_the_http_port_takes_no_calls_place(limits: Limits, soft: int, connections: int) -> None:
    """With few files it has fewer connections. Some it has in any case, for the probes."""
    limits(soft, soft)
    assert http_connections(calls=256) == connections


def test_at_least_one_call_goes_out(limits: Limits) -> None:
    """However few files there are."""
    limits(10, 10)
    assert fitting(256) == 1


@pytest.fixture
def no_file_left() -> Iterator[Callable[..., None]]:
    """Call it, and the process can open none any more, or `but` for a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []

    def exhaust(*, but: int = 0) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(held, default=0) + 256, hard))
        try:
            while True:
                held.append(os.dup(0))
        except OSError as error:
            assert error.errno == errno.EMFILE  # noqa: PT017 - it is the end of the loop
        for _ in range(but):
            os.close(held.pop())

    yield exhaust
    for handle in held:
        os.close(handle)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "https://127.0.0.1:1/v1", "http://localhost:1/v1"])
async def test_a_call_without_a_file_is_not_the_providers_fault(
    url: str, no_file_left: Callable[[], None], *, is_first: bool
) -> None:
    """Nor the document's: the message names the limit, and nothing says that the provider cannot be reached."""
    client = OpenAIChatClient(provider=Provider(base_url=url, request_timeout_seconds=5), max_connections=4)
    await asyncio.to_thread(int)  # the loop's thread for look-ups is there by then
    if not is_first:
        with pytest.raises(ProviderUnavailable, match="connection refused"):
            await client.ask(chat_request())
    no_file_left()
    with pytest.raises(ProviderUnavailable) as caught:
        await client.ask(chat_request())
    await client.close()
    assert "too many open files in this process (ulimit -n is " in str(caught.value)
    assert "no connection" not in str(caught.value)
    assert not caught.value.blames_document


@pytest.mark.parametrize(
    "unknown",
    [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OSError(errno.EBUSY, "Device or resource busy")],
    ids=str,
)
def test_a_lookup_without_a_file_does_not_say_so(unknown: OSError, no_file_left: Callable[[], None]) -> None:
    """Its error is that of a name that is not known, or of the connection. Whether a file can be opened tells."""
    assert why_no_file(unknown) is None
    no_file_left()
    assert why_no_file(unknown) is not None


@pytest.mark.parametrize(
    "said",
    [aiohttp.ClientOSError(errno.ECONNREFUSED, "refused"), ConnectionResetError(errno.ECONNRESET, "reset")],
    ids=str,
)
def test_what_the_other_end_says_is_no_lack_of_files(said: OSError, no_file_left: Callable[[], None]) -> None:
    """Also while there is none, and whoever tells it: who reads it must look at the server."""
    no_file_left()
    assert why_no_file(said) is None


@pytest.mark.parametrize("but", range(5))
def test_a_store_without_a_file_does_not_say_so(tmp_path: Path, no_file_left: Callable[..., None], but: int) -> None:
    """SQLite says that its file cannot be opened, whichever of its files it is; where to look is told all the same."""
    file = SqliteFile(
        path=tmp_path / "some.sqlite3", opening=(), mark="", aside=tmp_path / "aside", say_damaged=pytest.fail
    )
    no_file_left(but=but)
    try:
        file.do(lambda connection: connection.execute("create table some (one)"))
    except StoreAway as away:
        assert "too many open files" in str(away)  # noqa: PT017 - with the most of them it may do
    else:
        assert but > 2
    finally:
        file.close()


def test_another_error_is_another_error() -> None:
    """Also one that goes round in a circle."""
    error, cause = OSError(errno.ECONNREFUSED, "refused"), OSError(errno.ENOENT, "no")
    error.__cause__, cause.__cause__ = cause, error
    assert why_no_file(error) is None
    assert why_no_file(ConnectionError()) is None
    error.__cause__ = OSError(errno.ENFILE, "the machine's")
    assert "too many open files" in (why_no_file(error) or "")
