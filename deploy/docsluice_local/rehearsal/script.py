"""What the provider answers to a task, where somebody has written that down. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from docsluice_local.rehearsal.answers import Schema

NOT_SAID: Final = object()
"""The script has nothing for a task: the answer is made up."""
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+")


class Script(Protocol):
    """Answers by task."""

    def said(self, task: str, *, document: str) -> Any:
        """The output of a task about a document, as a result has it. `NOT_SAID` if there is none.

        `document` is the user's message, in which the text is.
        """
        ...


def scripted(value: Any, script: Script, *, schema: Schema, document: str) -> Any:
    """An answer with all that the script says. The schema has a property for each task."""
    properties = schema.get("properties", {})
    if not isinstance(value, dict):
        return value
    said = {name: script.said(name, document=document) for name in properties}
    told = {name: _shaped(one, properties[name]) for name, one in said.items() if one is not NOT_SAID}
    return {**value, **told}


def _shaped(said: Any, schema: Mapping[str, Any]) -> Any:
    """An output as a model would write it: a text of so many sentences is asked for as a list of them."""
    count = schema.get("minItems")
    if not (isinstance(said, str) and schema.get("type") == "array" and count):
        return said
    parts = _SENTENCE_END.split(said.strip())
    if len(parts) < count:
        parts = said.split()
    return [*parts[: count - 1], " ".join(parts[count - 1 :])]
