"""YAML files that people write, limited to what JSON can say: their values go into requests and results."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from docsluice.text.api_keys import looks_like_key
from docsluice.validation.validation_problems import ValidationProblem, validation_problems
from docsluice_consumer.errors import ConfigurationError

_QUOTED = re.compile(r"'([^']*)'")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


_MOST_CHARACTERS = 10_000_000
"""By its aliases, a file of one kilobyte may stand for gigabytes."""
_NODE_CHARACTERS = 4


class _Loader(yaml.SafeLoader):
    """A loader that keeps dates as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way to say it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file holds, as JSON could hold it, and where each part of it is written."""

    name: str
    value: Any
    node: yaml.Node | None

    def where(self, place: Sequence[str]) -> str:
        """The file with the line and column, from 1, of a place in it: of the last part of the way that is there.

        A part of the way may be several steps with dots between.
        """
        mark, node = None, self.node
        for step in (step for part in place for step in part.split(".")):
            found = _part_of(node, step)
            if found is None:
                break
            mark, node = found
        return self.name if mark is None else f"{self.name}:{mark.line + 1}:{mark.column + 1}"


def load_yaml(path: Path | Traversable, *, name: str, variable: str) -> YamlFile:
    """Read a YAML file. `name` is its name in messages, `variable` the setting that chose it.

    Raises:
        ConfigurationError: it cannot be read, or is no YAML that JSON could hold.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"{variable}: cannot read {name}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{variable}: {name}: not valid UTF-8 at byte {error.start}"]) from error
    try:
        node, value = _parsed(text, name)
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
    except yaml.YAMLError as error:
        raise ConfigurationError([f"{variable}: {name}: not YAML: {_line(error)}"]) from error
    except ConfigurationError:
        raise
    except RecursionError as error:
        raise ConfigurationError([f"{variable}: {name}: nested too deeply to read"]) from error
    except Exception as error:  # PyYAML raises many kinds of errors for a bad value
        raise ConfigurationError([f"{variable}: {name}: holds what JSON cannot: {_line(error)}"]) from error
    return YamlFile(name, json.loads(written), node)


def unfit(error: ValidationError, file: YamlFile, *, expected: Any) -> ConfigurationError:
    """A line for each field that does not fit, naming the file, the line and the field's place in it."""
    found = validation_problems(error, expected=expected, given=file.value)
    return ConfigurationError([f"{file.where(problem.place)}: {_line_of(problem)}" for problem in found])


def _line_of(problem: ValidationProblem) -> str:
    return f"{'.'.join(problem.place)}: {problem.sentence}" if problem.place else problem.sentence


def _part_of(node: yaml.Node | None, step: str) -> tuple[yaml.Mark, yaml.Node] | None:
    """Where a part of a node begins, and the part: a field by its name, an entry by its own name or its index."""
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            name = _part_of(entry, "name")
            if step == str(number) or (name is not None and name[1].value == step):
                return entry.start_mark, entry
    return None


def _parsed(text: str, name: str) -> tuple[yaml.Node | None, Any]:
    loader = _Loader(text)
    loader.name = name  # for the messages
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        size = _unfolded(node, {})
        if size == math.inf:
            raise ValueError("Circular reference: an alias within what it names")
        if size > _MOST_CHARACTERS:
            problem = f"{name}: unfolds to more than {_MOST_CHARACTERS:,} characters, for its aliases (*name)"
            raise ConfigurationError([f"{problem} repeat what repeats others; write out what is meant"])
        return node, loader.construct_document(node)
    finally:
        loader.dispose()


def _unfolded(node: yaml.Node, known: dict[int, float]) -> float:
    """The characters of a node once all its aliases are written out. Infinite if it contains itself."""
    found = known.get(id(node))
    if found is not None:
        return found
    known[id(node)] = math.inf
    match node:
        case yaml.MappingNode():
            parts = [part for pair in node.value for part in pair]
        case yaml.SequenceNode():
            parts = node.value
        case _:
            parts = []
    own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
    known[id(node)] = own + _NODE_CHARACTERS + sum(_unfolded(part, known) for part in parts)
    return known[id(node)]


def _line(error: Exception) -> str:
    """PyYAML's own messages speak for themselves. The others need the exception's name.

    PyYAML quotes the line of the file, which may hold a key. Only its place is kept.
    """
    if isinstance(error, yaml.MarkedYAMLError):
        for mark in (error.context_mark, error.problem_mark):
            if mark is not None:
                mark.buffer = None
    message = _QUOTED.sub(lambda found: "'…'" if looks_like_key(found[1]) else found[0], " ".join(str(error).split()))
    return message if isinstance(error, yaml.YAMLError) else f"{type(error).__name__}: {message}"
