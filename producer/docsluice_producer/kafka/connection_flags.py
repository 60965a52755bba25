"""The flags that say where the broker is, and the settings beside them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from docsluice.cli.output import CommandFailed, say
from docsluice.settings.paths import why_nowhere
from docsluice.text.known_secrets import KnownSecrets
from docsluice_producer.command_line.flags import Seconds
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.command_line.unknown_variables import unknown_variables
from docsluice_producer.errors import ProducerFault, WrongUsage
from docsluice_producer.kafka.connection import Broker, broker_from, settings

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
    def settings(self) -> Iterator[tuple[Mapping[str, str], Broker]]:
        """The settings and the broker, for the length of a command. A fault inside ends the command.

        Raises:
            CommandFailed: there was one; no secret of ours is in its line.
        """
        secrets = KnownSecrets()
        try:
            environment = self._environment()
            secrets.learn(environment.get("DOCSLUICE_KAFKA_SASL_PASSWORD"))
            for problem in unknown_variables(environment):
                say(printable(problem))
            yield environment, broker_from(environment, bootstrap_servers=self.bootstrap_servers)
        except ProducerFault as fault:
            raise CommandFailed(secrets.cut(str(fault)), exit_code=fault.exit_code) from None

    def _environment(self) -> dict[str, str]:
        if (problem := why_nowhere()) is not None:
            raise WrongUsage(problem)
        flags = {"KAFKA_BOOTSTRAP_SERVERS"} if self.bootstrap_servers else set[str]()
        return settings(Path.cwd(), env_file=self.env_file, flags=flags, say=lambda line: say(printable(line)))
