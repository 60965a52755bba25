"""The regular expressions in a JSON schema, for an engine that never tries the same characters twice. Pure.

A pattern then costs its size times the length of the text. Such an engine has no look-around and no back-references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator, FancyRegexOptions, RegexOptions

from docsluice.text.printable import shortened

_MOST_KIB = 1024
"""The largest compiled pattern. Counts make patterns large: `.{1,500}` is five hundred times the size of `.`."""
_KIB = (4, 8, 16, 32, 64, 128, 256, 512, _MOST_KIB)
LINEAR = RegexOptions(size_limit=_MOST_KIB * 1024)
_ROOMY = RegexOptions(size_limit=16 * _MOST_KIB * 1024)
_BACKTRACKING = FancyRegexOptions(size_limit=16 * _MOST_KIB * 1024)

_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_IN_A_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_ALONE = frozenset(
    (
        *("items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"),
        *("not", "if", "then", "else", "contentSchema"),
    )
)
_WORD_EDGE = re.compile(r"(?<!\\)(?:\\\\)*+\\[<>]")
_SHOWN_CHARACTERS = 60


def patterns_in(schema: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every pattern of a schema, and where it stands."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(schema.get("pattern"), str):
        yield f"{place}pattern", schema["pattern"]
    for name, part in schema.items():
        inner: Mapping[Any, Any] = {}
        if name in _BY_NAME and isinstance(part, Mapping):
            inner = part
        elif name in _IN_A_LIST and isinstance(part, list):
            inner = dict(enumerate(part))
        elif name in _ALONE:
            yield from patterns_in(part, f"{place}{name}.")
        if name == "patternProperties":
            yield from ((f"{place}{name}", str(pattern)) for pattern in inner)
        for key, within in inner.items():
            yield from patterns_in(within, f"{place}{name}.{key}.")


def pattern_problem(pattern: str) -> str | None:
    """Why a pattern cannot be used, and what to write instead. None if it can."""
    shown = shortened(pattern, _SHOWN_CHARACTERS)
    if _WORD_EDGE.search(pattern):
        return rf"{shown} has \< or \>, which engines read in different ways; write < or >"
    if _compiles(pattern, LINEAR):
        return None
    if _compiles(pattern, _ROOMY):
        return f"{shown} is too large when compiled; write + for a count such as {{1,500}}, and set maxLength beside it"
    if _compiles(pattern, _BACKTRACKING):
        return (
            f"{shown} has look-around or a back-reference, which can take for ever on an odd answer; write what must"
            " be there as further patterns under allOf, and what must not as not: {pattern: …}"
        )
    if why := _why_none(pattern):
        return f"{shown} is no regular expression: {why}"
    return (
        rf"{shown} is no regular expression of ECMA-262, which JSON schema takes ($ for \Z, {{0,3}} for {{,3}}), or its"
        " counts are far too large"
    )


def compiled_kib(pattern: str) -> int:
    """The size of a compiled pattern that `pattern_problem` has nothing against, rounded up."""
    return next(kib for kib in _KIB if _compiles(pattern, RegexOptions(size_limit=kib * 1024)))


def _compiles(pattern: str, options: RegexOptions | FancyRegexOptions) -> bool:
    try:
        Draft202012Validator({"pattern": pattern}, pattern_options=options, offline=True)
    except ValueError:
        return False
    return True


def _why_none(pattern: str) -> str | None:
    """What Python finds wrong with a pattern. None if nothing."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        return str(error)
    except RecursionError:
        return "nested too deep"
    return None
