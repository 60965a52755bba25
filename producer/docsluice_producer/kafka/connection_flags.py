"""The flags that say where the broker is, and the settings beside them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from docsluice.cli.output import CommandFailed, say
from docsluice.errors import ConfigurationError
from docsluice.kafka.broker import Broker, broker_of
from docsluice.kafka.passing import REQUEST_SECONDS
from docsluice.settings.shared_settings import SharedSettings
from docsluice.settings.trusted_addresses import KAFKA
from docsluice.text.known_secrets import KnownSecrets
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.flags import Seconds
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.command_line.unknown_variables import unknown_variables
from docsluice_producer.errors import ProducerFault

_BROKER = Group("The broker", sort_key=9, help="Password and TLS are settings: DOCSLUICE_KAFKA_…")


@Parameter(name="*", group=_BROKER)
@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the broker is, and how long to wait for it.

    Attributes:
        bootstrap_servers: ask here for the brokers, several with commas between [default: KAFKA_BOOTSTRAP_SERVERS, or
            localhost:9092]
        wait_seconds: wait so long for a broker that is away
        env_file: read settings from this file, under the environment; one that is named may send a password of the
            environment to the broker that it names [default: .env in the working folder]
    """

    bootstrap_servers: Annotated[str | None, Parameter(metavar="HOST:PORT")] = None
    wait_seconds: Seconds = 30.0
    env_file: Annotated[Path | None, Parameter(metavar="PATH")] = None

    @contextmanager
    def settings(self, **flags: str | None) -> Iterator[tuple[SharedSettings, Broker]]:
        """The settings and the broker, for the length of a command. `flags` win, by the names of the settings.

        Raises:
            CommandFailed: a fault inside ended the command. No secret of ours is in its lines.
        """
        secrets = KnownSecrets()
        try:
            settings = self._loaded(flags)
            if settings.kafka_sasl_password:
                secrets.learn(settings.kafka_sasl_password.get_secret_value())
            broker = broker_of(settings, request_timeout_seconds=REQUEST_SECONDS)
            broker.client_arguments()
            yield settings, broker
        except ConfigurationError as error:
            raise CommandFailed(*map(secrets.cut, error.problems), exit_code=Exit.WRONG_USAGE) from None
        except ProducerFault as fault:
            raise CommandFailed(secrets.cut(str(fault)), exit_code=fault.exit_code) from None

    def _loaded(self, flags: Mapping[str, str | None]) -> SharedSettings:
        given = {name: value for name, value in flags.items() if value is not None}
        if self.bootstrap_servers:
            given["kafka_bootstrap_servers"] = self.bootstrap_servers
        settings = SharedSettings.load(given, env_file=self.env_file, ways=(KAFKA,))
        if settings.given_by_file:
            say(printable(f"{settings.env_file.path} gives {', '.join(sorted(settings.given_by_file))}"))
        for problem in unknown_variables({*os.environ, *settings.env_file.values}):
            say(printable(problem))
        return settings
