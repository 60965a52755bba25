"""The edge to the jmespath package: reads an expression, and evaluates it on a value. Pure.

Names that begin with a dollar sign, such as `$key`, stand for what a record has beside its value. JMESPath has none, so
they are written as quoted fields that no value can have, and become nodes of their own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jmespath import exceptions, functions, parser, visitor

from docsluice.validation.event_problems import NAMED_TWICE, shown_name
from docsluice.validation.record_bytes import twice_in

_MARK = "\x00"
_NAME_NODE = "name"
_SHOWN_CHARACTERS = 20
_QUOTES = "names with other characters than a to z, 0 to 9 and _ stand in double quotes, texts in single ones"
_TOKENS = re.compile(
    r"""(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`)"""
    r"""|\$headers\s*\.\s*(?P<header>[A-Za-z_][A-Za-z0-9_-]*)|\$(?P<name>[A-Za-z_]*)""",
    re.DOTALL,
)
"""Strings and literals, which stay as they are, and names. A header's name may have hyphens without quotes."""
_FUNCTIONS = functions.Functions()
_OPTIONS = visitor.Options(custom_functions=_FUNCTIONS)
_OF_FIRST_CHILD = frozenset(
    {"subexpression", "index_expression", "pipe", "projection", "value_projection", "filter_projection", "flatten"}
)
"""Nodes whose further children are evaluated on what the first one gives."""


class BadExpression(ValueError):
    """A text that is no expression. The message says what is wrong with it."""


class NoValue(ValueError):
    """An expression that cannot be evaluated on a value. The message never quotes the value."""


Node = dict[str, Any]
"""A node of a read expression, as jmespath makes them."""


class Interpreter(visitor.TreeInterpreter):
    """Evaluates nodes on values. `names` are those that begin with a dollar sign, without it."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        super().__init__(_OPTIONS)
        self._names = names

    def visit_name(self, node: Any, value: Any) -> Any:  # noqa: ARG002 - as all of them
        """What a record has beside its value."""
        return self._names.get(node["value"])

    def visit_field(self, node: Any, value: Any) -> Any:
        """A field of an object. None of anything else.

        Raises:
            NoValue: the object has it twice.
        """
        if not isinstance(value, dict):
            return None
        name = node["value"]
        if twice_in(value, (name,)) is not None:
            raise NoValue(f"{shown_name(name)}: {NAMED_TWICE}")
        return value.get(name)

    def result_of(self, node: Node, value: Any) -> Any:
        """What an expression gives.

        Raises:
            NoValue: it gives nothing, for the value has other types, is nested too deeply or has too large numbers.
        """
        try:
            return self.visit(node, value)  # type: ignore[arg-type] # jmespath's own type of a node has no name
        except NoValue:
            raise
        except exceptions.JMESPathTypeError as error:
            taken = " or ".join(error.expected_types)
            given = functions.TYPES_MAP.get(error.actual_type, error.actual_type)
            problem = f"{error.function_name}() takes {taken}, not {given}"
        except RecursionError:
            problem = "the value is nested too deeply for it"
        except Exception as error:  # noqa: BLE001 - a foreign library on a stranger's value: it is about this record
            problem = f"it cannot be evaluated on this value ({type(error).__name__})"
        raise NoValue(problem) from None  # the cause quotes the value


def is_true(value: Any) -> bool:
    """Whether JMESPath takes a value for true: all but null, false, and what is empty."""
    return value is not None and value is not False and value not in ("", [], {})


def read(source: str, names: Collection[str]) -> Node:
    """An expression's nodes. `names` are those that it may have behind a dollar sign.

    Raises:
        BadExpression: it is none.
    """
    written = _TOKENS.sub(lambda found: _without_dollar(found, names), source)
    try:
        node = parser.Parser().parse(written).parsed
    except exceptions.IncompleteExpressionError:
        raise BadExpression("is not JMESPath: it ends too early") from None
    except exceptions.ParseError as error:
        rest = written[error.lex_position :].replace(f'"{_escaped(_MARK)}', '"$')
        near = f" near {shown_name(rest)[:_SHOWN_CHARACTERS]}" if rest else ""
        raise BadExpression(f"is not JMESPath{near}; {_QUOTES}") from None
    except RecursionError:
        raise BadExpression("is nested too deeply") from None
    except ValueError as error:
        raise BadExpression(f"is not JMESPath: {' '.join(str(error).split())}") from None
    return _prepared(dict(node))


def names_in(node: Node) -> frozenset[str]:
    """The names behind a dollar sign that an expression has."""
    return frozenset(one["value"] for one in _all(node) if one["type"] == _NAME_NODE)


def roots_of(node: Node) -> frozenset[str]:
    """The fields of the value itself that an expression reads."""
    if node["type"] == "field":
        return frozenset({node["value"]})
    if node["type"] == "expref":
        return frozenset()
    children = node["children"][:1] if node["type"] in _OF_FIRST_CHILD else node["children"]
    return frozenset().union(*(roots_of(child) for child in children if isinstance(child, dict)))


def _without_dollar(found: re.Match[str], names: Collection[str]) -> str:
    if found["quoted"] is not None:
        return found[0]
    name = "headers" if found["header"] is not None else found["name"]
    if name not in names:
        known = f"; known are {', '.join(f'${one}' for one in sorted(names))}" if names else ""
        raise BadExpression(f"has the unknown name ${name}{known}")
    field = f'."{found["header"]}"' if found["header"] is not None else ""
    return f'"{_escaped(_MARK)}{name}"{field}'


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _prepared(node: Node) -> Node:
    """The nodes with names in place of their fields, and known functions only."""
    if node["type"] == "field" and node["value"].startswith(_MARK):
        return {"type": _NAME_NODE, "value": node["value"].removeprefix(_MARK), "children": []}
    if node["type"] == "function_expression":
        _check_call(node)
    children = [_prepared(child) if isinstance(child, dict) else child for child in node["children"]]
    return {**node, "children": children}


def _check_call(node: Node) -> None:
    """Check a call's function. jmespath does so only when it is called."""
    name, given = node["value"], len(node["children"])
    known = _FUNCTIONS.FUNCTION_TABLE
    if name not in known:
        raise BadExpression(f"has the unknown function {name}(); known are {', '.join(sorted(known))}")
    signature = known[name]["signature"]
    is_variadic = bool(signature) and signature[-1].get("variadic", False)
    if given < len(signature) or (given > len(signature) and not is_variadic):
        least = "at least " if is_variadic else ""
        raise BadExpression(f"gives {name}() {given} arguments, and it takes {least}{len(signature)}")


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _all(child)
