"""Every setting as a flag, so that a function takes those that were given as `**flags`."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from cyclopts import Group, Parameter

from docsluice.settings.setting_types import HomeFile, HomePath
from docsluice_consumer.settings import Settings, variable_of

SECRETS = frozenset(
    {"openai_api_key", "kafka_sasl_password", "schema_registry_password", "shared_limits_url", "store_url"}
)
"""Those that are given by the environment only."""

_PROVIDER, _BROKER = Group.create_ordered("The provider"), Group.create_ordered("The broker")
_TOPICS = Group.create_ordered("Topics and delivery")
_GROUPS = {  # each begins with this field; the settings of both programs come before the service's own
    "openai_api_key": _PROVIDER,
    "kafka_bootstrap_servers": _BROKER,
    "group_id": _TOPICS,
    "group_instance_id": _TOPICS,
    "pipeline": Group.create_ordered("What is asked"),
    "schema_registry_url": Group.create_ordered("The schema registry"),
    "object_prefixes": Group.create_ordered("Documents by reference"),
    "max_concurrency": Group.create_ordered("Limits and budgets"),
    "dead_letter_max_ratio": Group.create_ordered("Dead letters"),
    "max_open_records_per_partition": Group.create_ordered("Memory and time"),
    "state_dir": Group.create_ordered("What is kept"),
    "http_host": (_SEEN := Group.create_ordered("What can be seen")),
    "http_port": _SEEN,
}

F = TypeVar("F", bound=Callable[..., Any])


def takes_settings(function: F) -> F:
    """Give the function a flag for each setting, in the place of `**flags`. A value is a string, as in a variable.

    A setting that the function names itself is left to it.
    """
    own = inspect.signature(function, eval_str=True)
    named = {name: one for name, one in own.parameters.items() if one.kind is not one.VAR_KEYWORD}
    function.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*named.values(), *_flags(without=named.keys())]
    )
    return function


def _flags(*, without: Collection[str]) -> Iterator[inspect.Parameter]:
    group = None
    for field, setting in Settings.model_fields.items():
        group = _GROUPS.get(field, group)
        if field in without:
            continue
        choices = _choices_of(setting.annotation)
        is_path = _is_path(setting.annotation)
        parameter = Parameter(
            group=group,
            help=_help_of(field),
            metavar="|".join(choices) or "VALUE",
            completer=None if is_path else functools.partial(_completed, choices),
            converter=_told_where(variable_of(field)) if field in SECRETS else _as_written,
            show=field not in SECRETS,
        )
        # The kind tells the shell to complete files. The value itself stays as it is written.
        kind: Any = Annotated[Path | None, parameter] if is_path else Annotated[str | None, parameter]
        yield inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _choices_of(kind: Any) -> tuple[str, ...]:
    """The values that it may have, where they are few."""
    return next((get_args(one) for one in (kind, *get_args(kind)) if get_origin(one) is Literal), ())


def _is_path(kind: Any) -> bool:
    return any(one in (Path, HomePath, HomeFile) for one in (kind, *get_args(kind)))


def _completed(choices: tuple[str, ...], _context: Any) -> tuple[str, ...]:
    return choices


def _as_written(_type: Any, tokens: Any) -> str:
    """The settings themselves say what is wrong with a value, and of all values at once."""
    return str(tokens[0].value)


def _told_where(variable: str) -> Callable[[Any, Any], None]:
    def refuse(_type: Any, _value: Any) -> None:
        raise ValueError(f"there is no such flag, for a command line can be read by others; set {variable}")

    return refuse


def _help_of(field: str) -> str:
    setting = Settings.model_fields[field]
    default = f"{setting.default:g}" if isinstance(setting.default, float) else setting.default
    named = variable_of(field) if default is None else f"{variable_of(field)}, default {default}"
    # The pages are not installed.
    return f"{re.sub(r',? see docs/[a-z/-]+([.]md)?', '', setting.description or '')} ({named})"
