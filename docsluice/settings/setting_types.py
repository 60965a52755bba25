"""Kinds of values that several settings have, each with its check. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from docsluice.network.urls import checked_topic
from docsluice.settings.paths import at_home


def _file(path: str) -> str:
    return str(at_home(Path(path))) if path.startswith("~") else path


def _member(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,200}", name):
        raise ValueError("must be 1 to 200 letters, digits, dots, underscores and hyphens")
    return name


def _group(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must hold no control characters, nor invisible ones; copy it again")
    return name


def in_capitals(written: object) -> object:
    """A word in capital letters, as the broker has it. Anything else as it is."""
    return written.upper() if isinstance(written, str) else written


SecurityProtocol = Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(in_capitals)]
SaslMechanism = Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(in_capitals)]
Topic = Annotated[str, AfterValidator(checked_topic)]
Group = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_group)]
Member = Annotated[str, AfterValidator(_member)]
"""A group's name that the broker takes, with room for a topic's name after it."""
HomePath = Annotated[Path, AfterValidator(at_home)]
HomeFile = Annotated[str, AfterValidator(_file)]
"""The same for libraries that want a string. Other paths stay as they are."""
Dollars = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
