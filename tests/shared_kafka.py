"""One Apache Kafka for all test processes that run side by side: each of its own would cost a core for seconds."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from docsluice_local.kafka import apache_kafka


@contextlib.contextmanager
def shared_kafka(folder: Path) -> Iterator[str]:
    """The address of the broker of all processes that name this folder.

    The first one that needs it starts it, and stops it when the others have left. A later one starts another one.
    """
    address = folder / "address"
    folder.mkdir(exist_ok=True)
    with (folder / "users").open("w") as users, contextlib.ExitStack() as ours:
        with _locked(folder / "door"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if is_ours := not address.exists():
                data_dir = folder / f"kafka-{os.getpid()}"
                address.write_text(ours.enter_context(apache_kafka(data_dir=data_dir)).bootstrap_servers)
            servers = address.read_text()
        try:
            yield servers
        finally:
            if is_ours:
                with _locked(folder / "door"):
                    address.unlink()
                fcntl.flock(users, fcntl.LOCK_EX)  # the others release it as they end, however they end


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
