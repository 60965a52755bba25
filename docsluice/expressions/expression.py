"""A JMESPath expression, and what it is evaluated on. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from docsluice.expressions.interpreter import Interpreter, Node, NoValue, names_in, read, roots_of

RECORD_NAMES = frozenset({"value", "key", "headers", "topic", "partition", "offset", "timestamp"})
"""What a record has beside its value: the names that an expression of `input:` may have behind a dollar sign."""
_NO_NAMES: Mapping[str, Any] = MappingProxyType({})
_KINDS = {type(None): "nothing", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}


class Scope:
    """What expressions are evaluated on: a value, and names for what is beside it."""

    __slots__ = ("interpreter", "value")

    def __init__(self, value: Any, names: Mapping[str, Any] = _NO_NAMES) -> None:
        self.value = value
        self.interpreter = Interpreter(names)


class Expression:
    """One expression, read once.

    Raises:
        BadExpression: from the constructor, if the text is none.
    """

    __slots__ = ("_node", "names", "source")

    def __init__(self, source: str, *, names: Collection[str] = ()) -> None:
        self.source = source.strip()
        self._node: Node = read(self.source, names)
        self.names = names_in(self._node)
        """The names behind a dollar sign that it has."""

    @property
    def roots(self) -> frozenset[str]:
        """The fields of the value itself that it reads."""
        return roots_of(self._node)

    def of(self, scope: Scope) -> Any:
        """What it gives. None for what is not there.

        Raises:
            NoValue: the value has other types than the expression takes.
        """
        return scope.interpreter.result_of(self._node, scope.value)


def as_text(value: Any) -> str:
    """A value as it stands in a text. Lists and objects become JSON without blanks, and None nothing.

    Raises:
        NoValue: it cannot be written.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        raise NoValue("it gives a number that is not finite")
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise NoValue("the value is nested too deeply for it") from None
    except (TypeError, ValueError):
        raise NoValue(f"it gives {kind_of(value)} that cannot be written as text") from None


def kind_of(value: Any) -> str:
    """What a value is, in words that fit after `it gives`."""
    return _KINDS.get(type(value), "an object")
