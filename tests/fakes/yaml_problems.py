"""What is said about a YAML file, without where in it."""

from __future__ import annotations

import re
from pathlib import Path


def without_place(problem: str, path: Path | str) -> str:
    """The problem without the variable, the file's name, the line and the column. It begins with the name."""
    found = re.match(rf"(?:DOCSLUICE_[A-Z]+: )?{re.escape(str(path))}(?::[1-9]\d*:[1-9]\d*)?: ", problem)
    assert found is not None, problem
    return problem[found.end() :]
