"""Apicurio Registry from its Maven artifact on a Java that is here, in memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from docsluice_local import kafka_java
from docsluice_local.process import Child, accepts_connections, free_port

_VERSION = "3.0.9"
_DOWNLOAD_SECONDS = 900
_READY_SECONDS = 120


def why_no_apicurio() -> str | None:
    """Why it cannot run here, in a sentence. None if it can."""
    lacking = kafka_java.why_not()
    return lacking and f"Apicurio Registry needs Java 17+ with Maven: {lacking}"


@contextlib.contextmanager
def apicurio(folder: Path) -> Iterator[str]:
    """The address of its Confluent-compatible API. The first time ever, 109 MB are downloaded into the user's cache."""
    program = kafka_java._cached(f"apicurio-registry-{_VERSION}", _download)
    port = free_port()
    child = Child(
        name="Apicurio Registry",
        command=[
            *("env", f"QUARKUS_HTTP_PORT={port}", "QUARKUS_HTTP_HOST=127.0.0.1"),
            *("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-jar", str(program / f"apicurio-registry-app-{_VERSION}-runner.jar")),
        ],
        log_path=folder / "apicurio.log",
    )
    child.start(is_ready=lambda: accepts_connections(port=port), timeout_seconds=_READY_SECONDS)
    try:
        yield f"http://127.0.0.1:{port}/apis/ccompat/v7"
    finally:
        child.stop()


def _download(scratch: Path) -> Path:
    artifact = f"io.apicurio:apicurio-registry-app:{_VERSION}:tar.gz:all"
    subprocess.run(
        [
            *("mvn", "--quiet", "--batch-mode", "dependency:copy"),
            *(f"-Dartifact={artifact}", f"-DoutputDirectory={scratch}"),
        ],
        check=True,
        capture_output=True,
        timeout=_DOWNLOAD_SECONDS,
        env=dict(os.environ),
    )
    unpacked = scratch / "unpacked"
    with tarfile.open(scratch / f"apicurio-registry-app-{_VERSION}-all.tar.gz") as archive:
        archive.extractall(unpacked, filter="data")
    return unpacked
