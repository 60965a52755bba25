"""Prompts with a document's metadata in them: `Summarize for {{ metadata.audience }}.` Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from docsluice.expressions.expression import Expression, Scope, as_text
from docsluice.expressions.interpreter import NoValue
from docsluice.expressions.template import Template, is_template

KNOWN_FIELDS = frozenset({"metadata", "document_id"})
"""What a prompt can use. The document itself stays in its own turn."""
MOST_CHARACTERS = 1_000
"""Of one value. Metadata come from strangers, and a prompt is what the model obeys."""


def checked_prompt(prompt: str) -> str:
    """A task's prompt, which may be a template.

    Raises:
        BadExpression: one of its placeholders is no expression.
        ValueError: one of them uses what no prompt has.
    """
    if is_template(prompt):
        for one in _template(prompt).expressions:
            if unknown := sorted(one.roots - KNOWN_FIELDS):
                raise ValueError(
                    f"{{{{ {one.source} }}}} uses {', '.join(unknown)}; a prompt can use metadata and document_id"
                )
    return prompt


def filled(prompt: str, document: Mapping[str, Any]) -> str:
    """A prompt with a document's values in it.

    Raises:
        NoValue: one is missing, is too long, or does not fit its expression. The message quotes no value.
    """
    if not is_template(prompt):
        return prompt
    return _template(prompt).filled(Scope(document), _shown)


def _shown(one: Expression, value: Any) -> str:
    if value is None:
        raise NoValue(f"{{{{ {one.source} }}}} is missing; a default is written {{{{ {one.source} || 'everyone' }}}}")
    text = as_text(value)
    if len(text) > MOST_CHARACTERS:
        raise NoValue(f"{{{{ {one.source} }}}} has {len(text):,} characters, and a prompt takes {MOST_CHARACTERS:,}")
    return text


@lru_cache
def _template(prompt: str) -> Template:
    return Template(prompt)
