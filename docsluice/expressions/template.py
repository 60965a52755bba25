"""A template: text with `{{ JMESPath }}` in it, and nothing else. Pure.

It has no loops, no filters and no attributes. A value is put in as it is: braces in it mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from docsluice.expressions.expression import Expression, Scope, as_text
from docsluice.expressions.interpreter import BadExpression

OPENING = "{{"
_CLOSING = "}}"
_TOKENS = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|[{}]|[^{}'"`]+|['"`]""",
    re.DOTALL,
)
_TWO_BRACES = "two braces that are no placeholder are written as {{ '{{' }}"


class Template:
    """One template, read once.

    Raises:
        BadExpression: from the constructor, if a placeholder has no end or holds no expression.
    """

    __slots__ = ("_pieces", "names", "source")

    def __init__(self, source: str, *, names: Collection[str] = ()) -> None:
        self.source = source
        self._pieces = tuple(_pieces_of(source, names))
        self.names = frozenset[str]().union(*(one.names for one in self.expressions))
        """The names behind a dollar sign that it has."""

    @property
    def expressions(self) -> list[Expression]:
        """Those between its texts."""
        return [piece for piece in self._pieces if isinstance(piece, Expression)]

    def of(self, scope: Scope) -> str:
        """The text with the values in it. What is not there leaves no trace.

        Raises:
            NoValue: an expression cannot be evaluated, or gives what cannot be written.
        """
        return self.filled(scope, lambda _, value: as_text(value))

    def filled(self, scope: Scope, show: Callable[[Expression, Any], str]) -> str:
        """The text with what `show` makes of each value."""
        return "".join(
            show(piece, piece.of(scope)) if isinstance(piece, Expression) else piece for piece in self._pieces
        )


Readable = Expression | Template
"""Both have a `source`, `names`, and what they give `of` a scope."""


def is_template(source: str) -> bool:
    """Whether a text is a template, and not a plain one or an expression."""
    return OPENING in source


def readable(source: str, *, names: Collection[str] = ()) -> Readable:
    """A template if there are double braces in it, else an expression.

    Raises:
        BadExpression: it is neither.
    """
    return Template(source, names=names) if is_template(source) else Expression(source, names=names)


def _pieces_of(source: str, names: Collection[str]) -> Iterator[str | Expression]:
    at = 0
    while (start := source.find(OPENING, at)) >= 0:
        yield source[at:start]
        at = _end_of(source, start + len(OPENING))
        inside = source[start + len(OPENING) : at - len(_CLOSING)]
        if not inside.strip():
            raise BadExpression(f"has {{{{ }}}} with nothing in it; {_TWO_BRACES}")
        try:
            yield Expression(inside, names=names)
        except BadExpression as problem:
            raise BadExpression(f"{{{{ {' '.join(inside.split())} }}}} {problem}; {_TWO_BRACES}") from None
    yield source[at:]


def _end_of(source: str, start: int) -> int:
    """Where the placeholder ends that begins at `start`: behind two braces that close none within it."""
    depth = 0
    for token in _TOKENS.finditer(source, start):
        match token[0]:
            case "{":
                depth += 1
            case "}" if depth:
                depth -= 1
            case "}" if source.startswith(_CLOSING, token.start()):
                return token.end() + 1
    raise BadExpression(f"has {{{{ without }}}} behind it; {_TWO_BRACES}")
