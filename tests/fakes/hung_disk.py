"""A disk that does not answer any more, under a process that is started with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

COMPILER = shutil.which("cc") or shutil.which("gcc")
IS_POSSIBLE = sys.platform == "linux" and COMPILER is not None
HUNG = "HUNG_DISK"
"""The variable that names a file: while that exists, no SQLite file answers."""
_SOURCE = Path(__file__).with_name("hung_disk.c")


def hung_disk(folder: Path) -> dict[str, str]:
    """The environment of a process whose disk hangs while a file is there, the one in this folder that `HUNG` names."""
    assert COMPILER is not None
    library = folder / "hung_disk.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), HUNG: str(folder / "hung")}
