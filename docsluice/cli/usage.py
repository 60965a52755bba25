"""Wrong usage in one line. Names of flags and commands only: what a user typed beside them may be a secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

from cyclopts import (
    App,
    Argument,
    ArgumentCollection,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Token,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from docsluice.text.likely_names import did_you_mean
from docsluice.text.printable import printable

_KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "a flag without a value",
    timedelta: "a length of time such as 30s, 10m, 2h or 1d",
}


def problem_of(error: CycloptsError) -> str:
    """What is wrong, with the name that was probably meant."""
    match error:
        case UnknownCommandError(unused_tokens=[typed, *_], app=App() as app):
            return names_of_commands(app) + did_you_mean(typed, app)
        case UnknownOptionError(token=token, app=App() as app):
            return _unknown_flag(token.keyword or token.value, app)
        case UnusedCliTokensError():
            return "there is a value without a flag"
        case MissingArgumentError(argument=Argument() as argument):
            return f"{argument.name} {'needs a value' if error.keyword else 'is missing'}"
        case ValidationError(argument=None):
            return error.exception_message
        case ValidationError(argument=Argument() as argument):
            return f"{argument.name}: {_within(error.exception_message)}"
        case CoercionError(argument=Argument() as argument):
            return f"{argument.name}: {error.msg or _kind_of(error, argument)}"
        case _:
            return "the arguments cannot be understood"


def names_of_commands(app: App) -> str:
    """What a command must be one of."""
    return f"the command must be one of {', '.join(name for name in app if not name.startswith('-'))}"


def no_flag(_type: Any, value: str) -> None:
    """Refuse a value that is a flag, where `-` alone is a value.

    Raises:
        UnknownOptionError: it begins with one `-` or two.
    """
    if value.startswith("-") and value != "-":
        raise UnknownOptionError(token=Token(keyword=value), argument_collection=ArgumentCollection())  # type: ignore[no-untyped-call]


def one_at_most(arguments: ArgumentCollection) -> None:
    """Refuse flags of a group beside each other.

    Raises:
        ValueError: there are two.
    """
    given = [argument.name for argument in arguments.filter_by(value_set=True)]
    if len(given) > 1:
        raise ValueError(f"choose one: {' or '.join(given)}")


def _unknown_flag(typed: str, app: App) -> str:
    flag = typed.partition("=")[0] if typed.startswith("--") else typed[:2]  # -p may have its value right behind it
    flags = [name for one in app.assemble_argument_collection() if one.show for name in one.names if name[:2] == "--"]
    return f"there is no flag {printable(flag)}{did_you_mean(flag, flags)}"


def _within(sentence: str) -> str:
    """A sentence of cyclopts' own as a part of ours."""
    return sentence.removesuffix(".").replace("Must", "must", 1)


def _kind_of(error: CoercionError, argument: Argument) -> str:
    if choices := argument.get_choices(force=True):
        return f"must be one of {', '.join(choices)}"
    kinds = [kind for type_, kind in _KINDS.items() if type_ in (error.target_type, *get_args(error.target_type))]
    return f"must be {kinds[0] if kinds else 'another value'}"
