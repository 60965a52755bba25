"""Child processes end when they should, and nothing of theirs is left."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docsluice_local.process import Child, ChildFailedError, child_process, free_port

_SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
_STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""
_PARENT = """
import sys, time
from pathlib import Path
from docsluice_local.process import child_process
with child_process(name="sleeper", command=[sys.executable, "-c", "import time; time.sleep(600)"],
                   log_path=Path(sys.argv[1])) as child:
    print(child.pid, flush=True)
    time.sleep(600)
"""


def _alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and waits for its parent to notice does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def _until_ended(pid: int) -> None:
    while _alive(pid):
        time.sleep(0.01)


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_a_child_ends_with_its_block(tmp_path: Path, interruption: type[BaseException]) -> None:
    """Also when the block ends by an exception or by Ctrl-C."""
    seen: list[Child] = []

    def interrupted() -> None:
        with child_process(name="sleeper", command=_SLEEPER, log_path=tmp_path / "log") as child:
            assert child.running
            seen.append(child)
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert not seen[0].running


def test_a_child_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    """The grace is short, and grandchildren go too."""
    log_path = tmp_path / "log"
    child = Child(name="stubborn", command=[sys.executable, "-c", _STUBBORN], log_path=log_path)
    child.start(is_ready=lambda: log_path.read_text().strip().isdigit())
    assert child.stop(grace_seconds=0.1) == -signal.SIGKILL
    _until_ended(int(log_path.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child together with its parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """No finally block runs when the parent is killed. The kernel ends the child."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(number)
    _until_ended(pid)


async def test_a_child_started_on_a_worker_thread_outlives_the_thread(tmp_path: Path) -> None:
    """A broker that a test restarts off its event loop stays up when that loop is gone."""
    child = Child(name="sleeper", command=_SLEEPER, log_path=tmp_path / "log")
    try:
        await asyncio.to_thread(child.start)
        await asyncio.get_running_loop().shutdown_default_executor()
        assert child.running
    finally:
        child.stop()


def test_a_child_that_dies_early_says_why(tmp_path: Path) -> None:
    """The error holds what it wrote last."""
    child = Child(
        name="broken", command=[sys.executable, "-c", "raise SystemExit('no disk')"], log_path=tmp_path / "log"
    )
    with pytest.raises(ChildFailedError, match=r"(?s)broken ended with code 1.*no disk"):
        child.start(is_ready=lambda: False)


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    """A missing binary is reported like any other early death."""
    child = Child(name="absent", command=[str(tmp_path / "absent")], log_path=tmp_path / "log")
    with pytest.raises(ChildFailedError, match="No such file"):
        child.start(is_ready=lambda: False)


def test_a_child_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    """Nothing is left running after the timeout."""
    child = Child(name="sleeper", command=_SLEEPER, log_path=tmp_path / "log")
    with pytest.raises(ChildFailedError, match="not ready"):
        child.start(is_ready=lambda: False, timeout_seconds=0.1)
    assert not child.running


def test_a_free_port_is_handed_out_once() -> None:
    """Nobody gets a port twice while the process that drew it lives, whether or not something listens on it yet."""
    port = free_port()
    draw = [sys.executable, "-c", f"from docsluice_local.process import free_port; print(free_port([{port}]))"]

    with pytest.raises(RuntimeError, match="no free port"):
        free_port([port])
    elsewhere = subprocess.run(draw, capture_output=True, text=True, check=False)
    assert "no free port" in elsewhere.stderr


def test_a_port_is_free_again_when_the_process_that_drew_it_has_ended() -> None:
    """The system lets go of it, and no file is left to clean up."""
    draw = [sys.executable, "-c", "from docsluice_local.process import free_port; print(free_port())"]
    port = int(subprocess.run(draw, capture_output=True, text=True, check=True).stdout)

    assert free_port([port]) == port
