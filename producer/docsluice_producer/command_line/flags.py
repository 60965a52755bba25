"""Shared parts of the commands' flags: kinds of values, and the form of the help."""

import argparse
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from docsluice_producer.command_line.exits import Exit
from docsluice_producer.errors import WrongUsage

PROGRAM = "docsluice-producer"
_DEFAULT_WAIT_SECONDS = 30.0
_DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EXIT_CODES = "exit codes:"


class Parser(argparse.ArgumentParser):
    """A parser that takes flags by their whole names, and reports a mistake in one line."""

    def __init__(self, **arguments: Any) -> None:
        # A flag taken for another one would send, or drop, something that was not meant.
        super().__init__(**{**arguments, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """End with one line."""
        raise WrongUsage(f"{message}; see {self.prog} --help")


def wrong(command: str, message: str) -> WrongUsage:
    """A mistake in a command's arguments, with a hint where to look."""
    return WrongUsage(f"{message}; see {PROGRAM} {command} --help")


def add_connection(command: argparse.ArgumentParser) -> None:
    """Where the broker is, and how long to wait for it."""
    group = command.add_argument_group(
        "the broker (password and TLS: DOCSLUICE_KAFKA_…, see docs/reference/settings.md)"
    )
    add = group.add_argument
    add(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="ask here for the brokers, several with commas between"
        " (default: KAFKA_BOOTSTRAP_SERVERS, or localhost:9092)",
    )
    add(
        "--wait-seconds",
        type=seconds,
        default=_DEFAULT_WAIT_SECONDS,
        metavar="S",
        help="wait so long for a broker that is away (default: %(default)g)",
    )
    add(
        "--env-file",
        type=Path,
        metavar="PATH",
        help="read settings from this file, under the environment; one that is named may send a password of the"
        " environment to the broker that it names (default: .env in the working folder)",
    )


class Formatter(argparse.RawDescriptionHelpFormatter):
    """A formatter that keeps the lines of the exit codes, and wraps the rest as usual."""

    def add_text(self, text: str | None) -> None:
        """Wrap a text, unless it is a table."""
        if text and not text.startswith(_EXIT_CODES):
            text = "\n".join(self._split_lines(text, self._width))
        super().add_text(text)


def exit_codes(meanings: Mapping[Exit, str]) -> str:
    """The end of a command's help."""
    return "\n".join([_EXIT_CODES, *(f"  {code:<4d}{meaning}" for code, meaning in meanings.items())])


def positive(text: str) -> int:
    """A number from 1 up."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds, 0 included."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def url(text: str) -> str:
    """The URL of a page that answers over HTTP."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of brackets, or of a port
        fits = False
    if not fits or not re.fullmatch(r"[!-~]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no URL such as http://localhost:9464/metrics")
    return text


def duration(text: str) -> timedelta:
    """A length of time: 30s, 10m, 2h, 1d."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 30s, 10m, 2h or 1d")
    return timedelta(**{_DURATION_UNITS[found[2]]: int(found[1])})
