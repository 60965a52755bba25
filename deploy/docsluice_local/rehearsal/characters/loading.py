"""The characters that there are, read from the files beside this one."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml
from pydantic import ValidationError

from docsluice.validation.validation_problems import validation_problems
from docsluice_local.rehearsal.characters.character import Character

_FOLDER = files("docsluice_local.rehearsal.characters")
_SUFFIX = ".yaml"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml reads a file ten times as fast. A PyYAML that was built without it lacks its loader."""


class UnknownCharacterError(ValueError):
    """No file has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no character is called {name!r}; there are {', '.join(character_names())}")


class UnfitCharacterError(ValueError):
    """A file that does not hold a character. The message has one line for each thing to change."""


def character_names() -> tuple[str, ...]:
    """All names, in alphabetical order."""
    return tuple(sorted(each.name.removesuffix(_SUFFIX) for each in _FOLDER.iterdir() if each.name.endswith(_SUFFIX)))


@cache
def load_character(name: str) -> Character:
    """The character of this name.

    Raises:
        UnknownCharacterError: there is none.
        UnfitCharacterError: its file does not fit.
    """
    if name not in character_names():
        raise UnknownCharacterError(name)
    return read_character(_FOLDER / f"{name}{_SUFFIX}")


def all_characters() -> tuple[Character, ...]:
    """Every character, by name."""
    return tuple(load_character(name) for name in character_names())


def read_character(file: Traversable) -> Character:
    """Read one file.

    Raises:
        UnfitCharacterError: it is no YAML, has the wrong fields, or another name than its file.
    """
    try:
        held: Any = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - it is a safe one
        character = Character.model_validate(held)
    except yaml.YAMLError as problem:
        raise UnfitCharacterError(f"{file.name}: not YAML: {' '.join(str(problem).split())}") from problem
    except ValidationError as problem:
        lines = [
            f"{file.name}: {'.'.join(each.place)}: {each.sentence}"
            for each in validation_problems(problem, expected=Character)
        ]
        raise UnfitCharacterError("\n".join(lines)) from problem
    if f"{character.name}{_SUFFIX}" != file.name:
        raise UnfitCharacterError(f"{file.name}: name: must be the file's name, {file.name.removesuffix(_SUFFIX)}")
    return character
