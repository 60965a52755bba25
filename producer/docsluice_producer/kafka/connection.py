"""How to reach the broker: settings as client arguments, and one clear line if it cannot be reached."""

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context

from docsluice.network.network_errors import in_words
from docsluice.network.urls import checked_servers
from docsluice.settings.env_file import EnvFileProblem, read_env_file
from docsluice.settings.paths import at_home
from docsluice.settings.trusted_addresses import KAFKA, problems_of
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.command_line.unknown_variables import OF_PRODUCER
from docsluice_producer.errors import BrokerAway, BrokerRefused, WrongUsage

REQUEST_TIMEOUT_MS = 10_000
"""The timeout of one request. A silent broker can exceed the wait by this much."""
_RETRY_SECONDS = 0.5
_CREDENTIALS = ("SASL_USERNAME", "SASL_PASSWORD")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_SECURITY = "DOCSLUICE_KAFKA_"
_REFUSALS = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    ssl.SSLCertVerificationError,
)
_AWAY = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, OSError)
_LOGGED = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, TimeoutError)

_ELSEWHERE = "; KAFKA_BOOTSTRAP_SERVERS or --bootstrap-servers names another"

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """The broker's address and credentials. The repr leaves the secrets out."""

    bootstrap_servers: str
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def arguments(self) -> dict[str, Any]:
        """The arguments of every aiokafka client."""
        return {"bootstrap_servers": self.bootstrap_servers, "request_timeout_ms": REQUEST_TIMEOUT_MS, **self.security}


def settings(
    working_directory: Path, *, env_file: Path | None = None, flags: Collection[str] = (), say: Say = lambda _: None
) -> dict[str, str]:
    """The environment over the named file, or else over the `.env` of the working directory. Blank counts as unset.

    `flags` are variables that a flag replaces. `say` hears which ones are taken from the file.

    Raises:
        WrongUsage: the file cannot be read, or it decides where somebody else's secret goes.
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
    return Broker(bootstrap_servers=servers, security=_security(environment))


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
        security["ssl_context"] = _ssl_context(environment)
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
        "sasl_plain_username": environment[_SECURITY + "SASL_USERNAME"],
        "sasl_plain_password": environment[_SECURITY + "SASL_PASSWORD"],
    }


def _ssl_context(environment: Mapping[str, str]) -> ssl.SSLContext:
    files = {name: _file(environment, name) for name in ("SSL_CAFILE", "SSL_CERTFILE", "SSL_KEYFILE")}
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=files["SSL_CAFILE"],
            certfile=files["SSL_CERTFILE"],
            keyfile=files["SSL_KEYFILE"],
            password=lambda: "",  # otherwise OpenSSL asks for an encrypted key's password at the terminal
        )
    except (OSError, ValueError) as error:
        raise WrongUsage(f"{_SECURITY}SSL_*: the certificate files do not work: {error}") from error
    return context


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


class ClientLog(logging.Handler):
    """Keeps what aiokafka logs off the terminal, and remembers the last failure it logged.

    Only that log says why a connection failed: a refused password, an unknown certificate, an unreachable advertised
    address. The exception says no more than "unable to bootstrap".
    """

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.last: BaseException | None = None
        self.node_unreachable = False

    def forget(self) -> None:
        """Begin again."""
        self.last = None
        self.node_unreachable = False

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the exception among the arguments of a log call."""
        if "connect to node" in str(record.msg):
            self.node_unreachable = True
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, BaseException):
                self.last = argument

    @contextmanager
    def attached(self) -> Iterator["ClientLog"]:
        """Listen until the block ends."""
        logger = logging.getLogger("aiokafka")
        propagated, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        try:
            yield self
        finally:
            logger.removeHandler(self)
            logger.propagate = propagated


async def with_retries(
    attempt: Callable[[], Awaitable[T]], *, broker: Broker, client_log: ClientLog, wait_seconds: float, say: Say
) -> T:
    """Retry `attempt` until the broker answers, and report the wait once.

    Raises:
        BrokerAway: it did not answer in `wait_seconds`.
        BrokerRefused: it refused. A retry would only lock the account.
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
            if isinstance(cause, _REFUSALS):
                raise BrokerRefused(f"{broker.bootstrap_servers} refuses us: {explained(cause)}") from error
            if not isinstance(error, _AWAY) and not getattr(error, "retriable", False):
                raise BrokerRefused(f"{broker.bootstrap_servers}: {explained(cause)}") from error
        if loop.time() >= deadline:
            if told is None:
                raise BrokerAway(f"{problem}: {why}{hint}")
            raise BrokerAway(f"{problem} for {wait_seconds:g} s" + ("" if why == told else f": {why}"))
        if told is None:
            say(f"{problem}: {why}{hint} (trying for {wait_seconds:g} s)")
            told = why
        await asyncio.sleep(min(_RETRY_SECONDS, max(0.0, deadline - loop.time())))


async def stopped(client: Any, *, seconds: float) -> None:
    """Stop an aiokafka consumer, waiting `seconds` at most.

    While a broker is away, its own stop may end with a cancellation that looks like ours.
    """
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait([stopping], timeout=seconds)
    if not stopping.cancel() and not stopping.cancelled():
        stopping.exception()


def _absence(broker: Broker, cause: BaseException, client_log: ClientLog) -> tuple[str, str, str]:
    """What is missing, why, and where to look."""
    why = explained(cause)
    if client_log.node_unreachable:
        return f"{broker.bootstrap_servers} answers, but the address that it advertises to clients does not", why, ""
    if isinstance(cause, ConnectionResetError | KafkaConnectionError):
        # How TLS against a plaintext listener looks, and the other way round.
        why = f"the connection is closed at once (is {_SECURITY}SECURITY_PROTOCOL right?)"
    return f"no broker at {broker.bootstrap_servers}", why, _ELSEWHERE


def explained(error: BaseException) -> str:
    """An exception as one line for a person."""
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return "wrong user name or password"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"it does not know this {_SECURITY}SASL_MECHANISM"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    words, kind = in_words(error), type(error).__name__
    return words if words != kind else printable(str(error)) or kind
