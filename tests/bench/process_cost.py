"""What a process has taken of the machine, as Linux tells it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from docsluice_local.process import Child

_HERTZ = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 2**20
_NANOSECONDS = 1e9


def cpu_seconds(child: Child) -> float:
    """User and system time since its start, in steps of a hundredth."""
    fields = _stat(child)
    return (int(fields[11]) + int(fields[12])) / _HERTZ


def starved_seconds(child: Child) -> float:
    """How long its main thread was ready to run and had no core, since its start."""
    return int(Path(f"/proc/{child.pid}/schedstat").read_text().split()[1]) / _NANOSECONDS


def age_seconds(child: Child) -> float:
    """How long ago it was started, in steps of a hundredth."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(_stat(child)[19]) / _HERTZ


def resident_mib(child: Child) -> float:
    """What it holds in memory now."""
    return int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * _PAGE_BYTES / _MIB


def _stat(child: Child) -> list[str]:
    """The fields behind the program's name, which may hold spaces."""
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
