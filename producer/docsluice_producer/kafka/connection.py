"""How to reach the broker: settings to an address, and one clear line when it cannot be reached."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, NodeNotReadyError

from docsluice.errors import ConfigurationError
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_errors import is_passing
from docsluice.kafka.client_log import ClientLog, cause_in_words, is_final
from docsluice.network.urls import checked_servers
from docsluice.settings.env_file import EnvFileProblem, read_env_file
from docsluice.settings.paths import at_home
from docsluice.settings.trusted_addresses import KAFKA, problems_of
from docsluice_producer.command_line.unknown_variables import OF_PRODUCER
from docsluice_producer.errors import BrokerAway, BrokerRefused, WrongUsage

REQUEST_SECONDS = 10.0
"""One request. A broker that accepts connections and says nothing can take us so far past the end of our patience."""
_RETRY_SECONDS = 0.5
_CREDENTIALS = ("SASL_USERNAME", "SASL_PASSWORD")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_SECURITY = "DOCSLUICE_KAFKA_"
_LOGGED = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, TimeoutError)

_ELSEWHERE = "; KAFKA_BOOTSTRAP_SERVERS or --bootstrap-servers names another"

Say = Callable[[str], None]
T = TypeVar("T")


def settings(
    working_directory: Path, *, env_file: Path | None = None, flags: Collection[str] = (), say: Say = lambda _: None
) -> dict[str, str]:
    """The environment over the file that is named, or else the `.env` of the working directory. Blank means not set.

    `flags` are the variables in whose place a flag was given. `say` hears which ones are taken from the file.

    Raises:
        WrongUsage: there is a file that cannot be read, or it says where a secret is to go that is not its own.
    """
    try:
        file = read_env_file(env_file, folder=working_directory)
    except EnvFileProblem as problem:
        raise WrongUsage(str(problem)) from None
    given = file.given(os.environ)
    environment = {name: value for name, value in os.environ.items() if value.strip()}
    ours = {name: value for name, value in given.items() if name in OF_PRODUCER and name not in flags}
    if problems := problems_of(file, ours, set_elsewhere=environment.keys(), ways=(KAFKA,)):
        raise WrongUsage("; ".join(problems))
    if ours:
        say(f"{file.path} gives {', '.join(sorted(ours))}")
    return {**given, **environment}


def broker_from(environment: Mapping[str, str], *, bootstrap_servers: str | None) -> Broker:
    """Build the broker's address and credentials. The flag `bootstrap_servers` wins over the environment.

    Raises:
        WrongUsage: a setting cannot work. The message names it.
    """
    servers = bootstrap_servers or environment.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    try:
        checked_servers(servers)
    except ValueError as problem:
        raise WrongUsage(f"KAFKA_BOOTSTRAP_SERVERS: {problem}, not {servers!r}") from None
    broker = Broker(bootstrap_servers=servers, request_timeout_seconds=REQUEST_SECONDS, **_security(environment))
    try:
        broker.client_arguments()
    except ConfigurationError as problem:
        raise WrongUsage("; ".join(problem.problems)) from None
    return broker


def _security(environment: Mapping[str, str]) -> dict[str, Any]:
    protocol = environment.get(_SECURITY + "SECURITY_PROTOCOL", "PLAINTEXT").upper()
    if protocol not in _PROTOCOLS:
        raise WrongUsage(f"{_SECURITY}SECURITY_PROTOCOL must be one of {', '.join(_PROTOCOLS)}, not {protocol!r}")
    security: dict[str, Any] = {"security_protocol": protocol}
    if protocol.startswith("SASL_"):
        security |= _sasl(environment)
    elif unsent := [name for name in _CREDENTIALS if environment.get(_SECURITY + name)]:
        raise WrongUsage(
            f"{_SECURITY}{unsent[0]} would not be sent with {_SECURITY}SECURITY_PROTOCOL={protocol}:"
            " set that to SASL_SSL, or to SASL_PLAINTEXT in a closed network"
        )
    if protocol.endswith("SSL"):
        security |= {name.lower(): _file(environment, name) for name in ("SSL_CAFILE", "SSL_CERTFILE", "SSL_KEYFILE")}
    return security


def _sasl(environment: Mapping[str, str]) -> dict[str, str]:
    mechanism = environment.get(_SECURITY + "SASL_MECHANISM", "PLAIN").upper()
    if mechanism not in _MECHANISMS:
        raise WrongUsage(f"{_SECURITY}SASL_MECHANISM must be one of {', '.join(_MECHANISMS)}, not {mechanism!r}")
    missing = [_SECURITY + name for name in _CREDENTIALS if _SECURITY + name not in environment]
    if missing:
        raise WrongUsage(f"{', '.join(missing)} not set, and SASL needs it")
    return {
        "sasl_mechanism": mechanism,
        "sasl_username": environment[_SECURITY + "SASL_USERNAME"],
        "sasl_password": environment[_SECURITY + "SASL_PASSWORD"],
    }


def _file(environment: Mapping[str, str], name: str) -> str | None:
    if not (written := environment.get(_SECURITY + name)):
        return None
    try:
        path = at_home(Path(written))
    except ValueError as problem:
        raise WrongUsage(f"{_SECURITY}{name}: {problem}") from None
    if not path.is_file():
        raise WrongUsage(f"{_SECURITY}{name}: there is no file {path}")
    return str(path)


async def with_retries(
    attempt: Callable[[], Awaitable[T]], *, broker: Broker, client_log: ClientLog, wait_seconds: float, say: Say
) -> T:
    """Make the attempt until the broker answers, saying once that we wait.

    Raises:
        BrokerAway: it did not answer in `wait_seconds`.
        BrokerRefused: it answered with a refusal. To try that again would only lock the account.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    told: str | None = None
    while True:
        client_log.forget()
        try:
            return await attempt()
        except (KafkaError, OSError) as error:
            cause = client_log.last if isinstance(error, _LOGGED) and client_log.last else error
            problem, why, hint = _absence(broker, cause, client_log)
            if is_final(cause):
                raise BrokerRefused(f"{broker.bootstrap_servers} refuses us: {why}") from error
            if isinstance(error, KafkaError) and not is_passing(error):
                raise BrokerRefused(f"{broker.bootstrap_servers}: {why}") from error
        if loop.time() >= deadline:
            if told is None:
                raise BrokerAway(f"{problem}: {why}{hint}")
            raise BrokerAway(f"{problem} for {wait_seconds:g} s" + ("" if why == told else f": {why}"))
        if told is None:
            say(f"{problem}: {why}{hint} (trying for {wait_seconds:g} s)")
            told = why
        await asyncio.sleep(min(_RETRY_SECONDS, max(0.0, deadline - loop.time())))


def _absence(broker: Broker, cause: BaseException, client_log: ClientLog) -> tuple[str, str, str]:
    """What is missing, why, and where to look."""
    why = cause_in_words(cause, security_protocol=broker.security_protocol)
    if client_log.brokers:
        return f"{broker.bootstrap_servers} answers, but the address that it advertises to clients does not", why, ""
    return f"no broker at {broker.bootstrap_servers}", why, _ELSEWHERE
