"""What a made-up model answers: written down by task, or recorded from real results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from docsluice.errors import ConfigurationError

Answers: TypeAlias = "Mapping[str, Any] | TaskAnswers | RecordedAnswers"
"""By task, an output as a result has it, or a function that makes one of the document's text."""


@dataclass(frozen=True, slots=True)
class TaskAnswers:
    """Answers by task. A task that is not there gets an answer made up of the document's words."""

    by_task: Mapping[str, Any]

    @property
    def tasks(self) -> set[str]:
        """The tasks that are answered."""
        return set(self.by_task)

    def said(self, task: str, *, document: str) -> Any:
        """See `docsluice_local.rehearsal.script.Script`."""
        answer = self.by_task.get(task, _not_said())
        return answer(document) if callable(answer) else answer

    def knows(self, text: str) -> bool:  # noqa: ARG002 - as below
        """Whether a document of this text is answered: any is."""
        return True


@dataclass(frozen=True, slots=True)
class RecordedAnswers:
    """The outputs of earlier results, found again by the beginning of the document's text."""

    by_excerpt: Mapping[str, Mapping[str, Any]]

    @property
    def tasks(self) -> set[str]:
        """The tasks that are answered."""
        return {task for outputs in self.by_excerpt.values() for task in outputs}

    def said(self, task: str, *, document: str) -> Any:
        """See `docsluice_local.rehearsal.script.Script`."""
        found = [excerpt for excerpt in self.by_excerpt if excerpt in document]
        return self.by_excerpt[max(found, key=len)].get(task, _not_said()) if found else _not_said()

    def knows(self, text: str) -> bool:
        """Whether a document of this text is answered."""
        return any(text.startswith(excerpt) for excerpt in self.by_excerpt)


def recorded(path: str | Path) -> RecordedAnswers:
    """Read what `docsluice follow --json` has printed, or `--to results.jsonl` written: one result a line.

    Raises:
        ConfigurationError: the file cannot be read, or a line is no result.
    """
    found: dict[str, Mapping[str, Any]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path}: cannot be read ({error})"]) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if fields.get("kind") != "dead_letter":
                found[fields["excerpt"]] = dict(fields["outputs"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigurationError([f"{path}: line {number} is no result of `docsluice follow --json`"]) from None
    return RecordedAnswers(found)


def answers_of(given: Answers | None) -> TaskAnswers | RecordedAnswers:
    """The answers that are meant. None means made-up ones."""
    return given if isinstance(given, TaskAnswers | RecordedAnswers) else TaskAnswers(dict(given or {}))


def _not_said() -> object:
    from docsluice_local.rehearsal.script import NOT_SAID  # noqa: PLC0415 - the kit loads the service when it is used

    return NOT_SAID
