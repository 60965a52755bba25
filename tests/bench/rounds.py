"""Plays the cases of some parts in turns, round after round, so that a busy minute of the machine meets all alike."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence

from aiokafka.errors import KafkaError

from docsluice_local.process import ChildFailedError
from tests.bench.limits.audit import NothingToAuditError
from tests.bench.limits.run import GaveUpError
from tests.bench.part import Finding, Options, Part, chosen
from tests.bench.stage import Stage

_FAILURES = (
    *(ChildFailedError, GaveUpError, NothingToAuditError, KafkaError, OSError, RuntimeError),
    *(subprocess.SubprocessError, TimeoutError),
)


def play(
    parts: Sequence[Part], stage: Stage, options: Options, *, rounds: int | None, say: Callable[[str], None]
) -> Iterator[Finding]:
    """Each part's rounds, one part after the other. A case that fails says why, and has no finding in that round."""
    for part in parts:
        cases = chosen(part.cases(stage, options), options)
        for number in range(1, 1 + (rounds or (1 if options.quick else part.rounds))):
            for case in cases:
                name = f"round {number}  {part.name}: {case.setup}, {case.contender}"
                try:
                    played = case.play()
                except _FAILURES as problem:
                    say(f"{name}: FAILED: {_short(problem)}")
                    continue
                told = "  ".join(f"{figure} {value:.4g}" for figure, value in played.figures.items())
                say(f"{name}: {told}  {played.note}".rstrip())
                yield Finding(
                    part=part.name,
                    setup=case.setup,
                    contender=case.contender,
                    round=number,
                    figures=played.figures,
                    note=played.note,
                )


def _short(problem: Exception) -> str:
    """The first and the last line of what it says: a log's end, where it quotes one."""
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1][:300]}"
