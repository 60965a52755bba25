"""Run a program that cannot outlive the process that asked for it: `leash.py PARENT_PID COMMAND…`.

It is a file of its own, started by path without site packages. The new process itself must make the request to the
kernel. A `preexec_fn` would do so too, but forks a process that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command. On Linux the kernel kills it together with its parent."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(f"{command[0]}: the process that asked for it is gone")
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
