"""Where Apache Kafka comes from: Docker with its image, or Java, and what is said of either."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from docsluice_local import kafka, kafka_java


class _Engine(BaseHTTPRequestHandler):
    """A Docker engine that answers, and has no image. It may be allowed to pull."""

    pulls = False
    pulled: tuple[str, ...] = ()

    def do_GET(self) -> None:
        if self.path.endswith("/_ping"):
            self._answer(200, "OK")
        elif self.path.endswith("/version"):
            self._answer(200, {"ApiVersion": "1.44", "MinAPIVersion": "1.24", "Version": "27"})
        elif "/images/" in self.path and type(self).pulled:
            self._answer(200, {"Id": "sha256:1", "RepoTags": []})
        else:
            self._answer(404, {"message": "No such image"})

    def do_POST(self) -> None:
        if type(self).pulls and "/images/create" in self.path:
            type(self).pulled += (self.path,)
            self._answer(200, {"status": "done"})
        else:
            self._answer(500, {"message": "pull access denied by the registry"})

    def do_HEAD(self) -> None:
        self._answer(200, "")

    def _answer(self, status: int, body: object) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        pass


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Engine]]:
    """The only Docker engine of this machine."""

    class Engine(_Engine):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_address[1]}")
    for cached in (kafka._docker_answers, kafka._docker_serves):
        cached.cache_clear()
    yield Engine
    for cached in (kafka._docker_answers, kafka._docker_serves):
        cached.cache_clear()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("engine")
def test_an_engine_without_the_image_leaves_it_to_java(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It answers, so it looks able to. The image cannot be pulled, which is said, and once."""
    began: list[str] = []

    @contextlib.contextmanager
    def java_broker(**_: object) -> Iterator[None]:
        began.append("java")
        yield

    monkeypatch.setattr(kafka_java, "why_not", lambda: None)
    monkeypatch.setattr(kafka_java, "java_broker", java_broker)
    for _ in range(2):
        with kafka.apache_kafka(data_dir=tmp_path):
            pass
    assert began == ["java", "java"]
    (line,) = capsys.readouterr().err.splitlines()
    assert f"Docker cannot get the image apache/kafka:{kafka.KAFKA_VERSION}" in line
    assert "pull access denied" in line
    assert "Apache Kafka runs on Java instead" in line


@pytest.mark.usefixtures("engine")
def test_without_java_either_both_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that whichever is nearer can be fixed."""
    monkeypatch.setattr(kafka_java, "why_not", lambda: "java is not on the PATH")
    with (
        pytest.raises(RuntimeError, match=r"cannot get the image apache/kafka.*and java is not on the PATH"),
        kafka.apache_kafka(data_dir=tmp_path),
    ):
        pass


def test_an_image_that_can_be_pulled_is_used(engine: type[_Engine]) -> None:
    """Docker is then asked to run it."""
    engine.pulls = True
    assert kafka._docker_serves()
    assert any("apache" in path for path in engine.pulled)


def test_what_is_cached_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure leaves nothing that the next start would take for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = []

    def make(scratch: Path) -> Path:
        folder = scratch / "folder"
        folder.mkdir()
        made.append(folder)
        if len(made) == 1:
            raise RuntimeError("no disk")
        (folder / "file").write_text("whole")
        return folder

    with pytest.raises(RuntimeError):
        kafka_java._cached("name", make)
    for _ in range(2):
        assert (kafka_java._cached("name", make) / "file").read_text() == "whole"
    assert len(made) == 2
