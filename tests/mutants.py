"""Change the pure rooms a little, one change at a time, and tell which changes no test of the room notices.

`make mutants` takes all rooms, `make mutants ARGS="offsets limit"` some of them. It works on a copy of the sources.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_SOURCES = ("", "consumer", "producer", "deploy")
_ROOMS = {
    "token_bucket": ("admission/token_bucket.py", "admission/test_token_bucket.py"),
    "budget": ("admission/budget.py", "admission/test_budget.py"),
    "circuit_breaker": ("admission/circuit_breaker.py", "admission/test_circuit_breaker.py"),
    "cooldown": ("admission/cooldown.py", "admission/test_cooldown.py"),
    "leased_bucket": ("admission/leased_bucket.py", "admission/test_leased_bucket.py"),
    "overloads": ("admission/overloads.py", "admission/test_overloads.py"),
    "adaptive_rate": ("admission/adaptive_rate.py", "admission/test_quota.py"),
    "offsets": ("kafka/offsets.py", "kafka/test_offsets.py"),
    "limit": ("dead_letters/limit.py", "dead_letters/test_limit.py"),
    "chunking": ("tasks/chunking.py", "tasks/test_chunking.py"),
    "interpreter": ("expressions/interpreter.py", "expressions/test_expression.py"),
    "template": ("expressions/template.py", "expressions/test_template.py"),
    "input_rules": ("decode/input_rules.py", "decode/test_input_rules.py"),
    "retry_after": ("llm/retry_after.py", "llm/test_retry_after.py"),
}
"""Each room, and the file of tests that is to notice a change of it."""
_LEFT_OUT = (
    # One other operator is enough to ask whether a test looks at the result.
    r"core/ReplaceBinaryOperator_(?!(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Div|Mod_Mul)$).*",
    # `is` in place of `==` and the like change nothing that a person would write by mistake.
    r"core/ReplaceComparisonOperator_(?!Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is).*_(Is|IsNot|Eq|NotEq)",
    r"core/ReplaceComparisonOperator_(Eq|NotEq|Is|IsNot)_(Lt|LtE|Gt|GtE)",
    r"core/ReplaceUnaryOperator_.*_(Invert|Not|UAdd)",
)
_TIMEOUT_SECONDS = 60.0


def main() -> None:
    """Run the rooms that are named, and write a line for each change that survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("room", nargs="*", help=f"one of {', '.join(_ROOMS)} (default: all)")
    rooms = parser.parse_args().room or list(_ROOMS)
    if unknown := set(rooms) - set(_ROOMS):
        parser.error(f"no room: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("docsluice", "consumer", "producer", "deploy", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for room in rooms:
            _report(room, _tried(copy, room))


def _tried(copy: Path, room: str) -> list[tuple[Any, Any]]:
    """Each change of a room, and what became of it."""
    module, tests = _ROOMS[room]
    settings, session = copy / f"{room}.toml", copy / f"{room}.sqlite"
    pytest = f"{sys.executable} -m pytest -x -q -p no:xdist -p no:cacheprovider --noconftest -p tests.unshrunk"
    settings.write_text(
        f'[cosmic-ray]\nmodule-path = "consumer/docsluice_consumer/{module}"\n'
        f'timeout = {_TIMEOUT_SECONDS}\nexcluded-modules = []\ntest-command = "{pytest} tests/unit/{tests}"\n'
        f'[cosmic-ray.distributor]\nname = "local"\n'
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = {json.dumps(_LEFT_OUT)}\n"
    )
    _ray(copy, "cosmic-ray", "init", settings, session)
    _ray(copy, "cr-filter-operators", session, settings)
    _ray(copy, "cosmic-ray", "baseline", settings)
    _ray(copy, "cosmic-ray", "exec", settings, session)
    return [tuple(json.loads(line)) for line in _ray(copy, "cosmic-ray", "dump", session).splitlines()]


def _report(room: str, tried: list[tuple[Any, Any]]) -> None:
    ran = [(change, end) for change, end in tried if end and end["test_outcome"] and not _is_declaration(end)]
    survivors = [(change, end) for change, end in ran if end["test_outcome"] == "survived"]
    for change, end in survivors:
        (mutation,) = change["mutations"]
        line, _ = mutation["start_pos"]
        print(f"{room}:{line}: {mutation['operator_name'].removeprefix('core/')}: {_changed(end)}", flush=True)  # noqa: T201 - its purpose
    noticed = len(ran) - len(survivors)
    print(f"{room}: {noticed} of {len(ran)} changes were noticed, {noticed / max(1, len(ran)):.0%}", flush=True)  # noqa: T201


def _changed(end: Any) -> str:
    """The lines as they were changed."""
    return " ".join(one[1:].strip() for one in end["diff"].splitlines() if one[:1] == "+" and one[:3] != "+++")


def _is_declaration(end: Any) -> bool:
    """Whether only a declaration changed. Type checks are for those, and no call tells the difference.

    The `*` before keyword-only parameters is taken for a product.
    """
    changed = _changed(end)
    return "/," in changed or changed.startswith("@dataclass")


def _ray(copy: Path, program: str, *arguments: Path | str) -> str:
    """Run one of cosmic-ray's programs on the copy. Returns what it says."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(copy / source) for source in _SOURCES),
        "DOCSLUICE_FEW_EXAMPLES": "1",
    }
    command = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    ended = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return ended.stdout


if __name__ == "__main__":
    main()
