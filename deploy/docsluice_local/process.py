"""One child process: started with a log file, waited for until it is ready, ended without a trace."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")
_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 25

# The kernel ends a leashed child when the *thread* that started it ends. A broker started from a worker thread of an
# event loop would die with that loop. This thread lives as long as the interpreter.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")

# Below the range that systems hand out to outgoing connections (32768 upward on Linux, 49152 on macOS): a client that
# retries while its server is being restarted can then neither take the server's port nor connect to itself.
_PORTS = range(20_000, 32_000)


class ChildFailedError(RuntimeError):
    """A child process ended or did not become ready in time. The message holds the end of its log."""


class Child:
    """A program that can be started, stopped or killed, and started again.

    It runs in its own session, so Ctrl-C at the terminal reaches only us and we end it in order. Its standard output
    and error are appended to `log_path`. `environment` is added to our own.
    """

    def __init__(
        self, *, name: str, command: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._group_ended = True

    @property
    def pid(self) -> int | None:
        """The process id of the latest start. None before the first."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, is_ready: Callable[[], bool] = lambda: True, timeout_seconds: float = 30.0) -> None:
        """Start the program and return once `is_ready()` is true.

        Raises:
            ChildFailedError: it ended first, or was not ready in `timeout_seconds`. Nothing is left running.
        """
        if self.running:
            raise RuntimeError(f"{self.name} is running already (process {self.pid})")
        try:
            self._process = _starter.submit(self._spawn).result()
            self._group_ended = False
            self._wait_ready(is_ready, timeout_seconds)
        except BaseException:
            self.kill()
            raise

    def wait(self, *, timeout_seconds: float | None = None) -> int:
        """Wait for the program to end by itself and return its exit code (negative: the signal that ended it).

        Raises:
            subprocess.TimeoutExpired: it is still running after `timeout_seconds`.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.wait(timeout_seconds)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, if it still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, *, grace_seconds: float = 10.0) -> int | None:
        """End the program and all it has started: SIGTERM, and SIGKILL after `grace_seconds`.

        Returns the exit code, or None when it was never started. Ending twice is harmless.
        """
        try:
            if self._process is not None and self.running:
                self._signal_group(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace_seconds)
        finally:
            # Also after an interrupted wait, and for grandchildren that ignored the SIGTERM.
            self.kill()
        return self._process.returncode if self._process else None

    def kill(self) -> None:
        """End the program and all it has started at once, as `kill -9` does."""
        if self._process is not None and not self._group_ended:
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            self._group_ended = True  # from here on the system may reuse its number

    def log_tail(self) -> str:
        """The last lines of the log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text("utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def _wait_ready(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.running:
                code = self._process.returncode if self._process else None
                raise ChildFailedError(f"{self.name} ended with code {code} before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ChildFailedError(f"{self.name} was not ready in {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def _signal_group(self, number: signal.Signals) -> None:
        # The child leads its session, so its process id is that of its group, also after it has ended itself.
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


@contextlib.contextmanager
def child_process(
    *,
    name: str,
    command: Sequence[str],
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    is_ready: Callable[[], bool] = lambda: True,
    timeout_seconds: float = 30.0,
    grace_seconds: float = 10.0,
) -> Iterator[Child]:
    """Run a program for the length of a `with` block. See `Child` for what the arguments mean."""
    child = Child(name=name, command=command, log_path=log_path, environment=environment)
    try:
        child.start(is_ready=is_ready, timeout_seconds=timeout_seconds)
        yield child
    finally:
        child.stop(grace_seconds=grace_seconds)


def free_port(ports: Sequence[int] = _PORTS) -> int:
    """A TCP port of 127.0.0.1 on which nothing listens, and which no other call gets while this process lives.

    A server needs a while from here to its own `bind`, and again when it is restarted. So a UDP socket holds the number
    for as long as this process lives. TCP does not mind, and the system frees it however the process ends.
    """
    for port in random.SystemRandom().sample(ports, min(len(ports), 200)):
        holder = socket.socket(type=socket.SOCK_DGRAM)
        try:
            holder.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        holder.detach()
        return port
    raise RuntimeError(f"no free port among {ports}")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1, also one that comes back at once."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts_connections(*, port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
