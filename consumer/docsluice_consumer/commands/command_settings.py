"""The settings of one command, read once and kept secret."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from docsluice.cli.output import CommandFailed
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.settings import Settings, load_settings
from docsluice_consumer.telemetry.logs import configure_logs

BAD_SETTINGS = 2
_OF_THE_FILE = (
    "file of settings, under the environment, instead of the .env in the working folder; one that is named may send"
    " secrets of the environment to the addresses that it sets"
)
EnvFile = Annotated[Path | None, Parameter(metavar="PATH", group="The settings", help=_OF_THE_FILE)]


@contextlib.contextmanager
def settings_of_command(
    env_file: Path | None, flags: Mapping[str, str | None], *, is_quiet: bool = False
) -> Iterator[tuple[Settings, KnownSecrets]]:
    """The settings, their secrets, and the log. What is wrong with them, also when they are used, ends the command.

    `is_quiet` logs warnings only, unless the settings name a level.

    Raises:
        CommandFailed: a line for each problem.
    """
    secrets = KnownSecrets()
    try:
        given = {name: value for name, value in flags.items() if value is not None}
        settings = load_settings(given, env_file=env_file)
        from docsluice_consumer.bootstrap import known_secrets_of  # noqa: PLC0415 - a page of help need not wait for it

        secrets = known_secrets_of(settings)
        log_format = settings.log_format or ("console" if sys.stderr.isatty() else "json")
        level = "WARNING" if is_quiet and "log_level" not in settings.model_fields_set else settings.log_level
        configure_logs(log_format=log_format, level=level, cut=secrets.cut_all)
        yield settings, secrets
    except ConfigurationError as error:
        raise CommandFailed(*map(secrets.cut, error.problems), exit_code=BAD_SETTINGS) from None
