"""Why a broker cannot be reached. aiokafka's exceptions do not say, but its log lines do."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Iterator
from typing import ClassVar, Self

from aiokafka.errors import KafkaConnectionError, KafkaError

from docsluice.kafka import broker_errors
from docsluice.network.network_errors import in_words
from docsluice.text.printable import printable

_SERVER_FAILED = ('Unable connect to "', 'Unable to request metadata from "')
_BROKER_FAILED = ("Unable connect to node", "Unable to request metadata from node")
_OF_ANOTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate of another name, or another address."""


class ClientLog(logging.Handler):
    """Remembers which addresses aiokafka could not connect to, and why. Keeps its lines off the terminal.

    Its exceptions say only that no server could be reached. The cause is an argument of its log calls.
    """

    _before: ClassVar[tuple[int, bool]]
    _listening: ClassVar[int] = 0
    _propagated: ClassVar[bool]
    _muting: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__(level=logging.DEBUG)
        self.servers: dict[str, BaseException] = {}
        """Bootstrap servers that failed."""
        self.brokers: dict[str, BaseException] = {}
        """Brokers that failed, at the addresses that a bootstrap server gave for them."""
        self.last: BaseException | None = None
        """The last exception that was logged."""
        self.refused: KafkaError | None = None
        """Why a broker last refused a batch, which is sent again."""
        self._addresses: dict[object, str] = {}

    def forget(self) -> None:
        """Start afresh."""
        self.servers.clear()
        self.brokers.clear()
        self.last = self.refused = None

    def emit(self, record: logging.LogRecord) -> None:
        """Note a connection that is begun, or that failed."""
        said = str(record.msg)
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, BaseException):
                self.last = argument
        match record.args:
            case (host, port, BaseException() as cause) if said.startswith(_SERVER_FAILED):
                self.servers[f"{host}:{port}"] = cause
            case (node, BaseException() as cause) if said.startswith(_BROKER_FAILED):
                self.brokers[self._addresses.get(node, f"broker {node}")] = cause
            case (_, type() as kind) if issubclass(kind, KafkaError):
                self.refused = kind()
            case (node, host, port) if said.startswith("Initiating connection to node"):
                self._addresses[node] = f"{host}:{port}"

    def closed_by(self) -> list[str]:
        """The bootstrap servers that accepted the connection and closed it. They may speak another protocol."""
        return [address for address, cause in self.servers.items() if took_and_closed(cause)]

    @contextlib.contextmanager
    def listening(self) -> Iterator[Self]:
        """Listen to the client's whole log until the block ends. Blocks may overlap.

        For a client that starts. A client that reads writes a line for each fetch.
        """
        logger, cls = logging.getLogger("aiokafka"), ClientLog
        if cls._listening == 0:
            cls._before = logger.level, logger.propagate
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
        cls._listening += 1
        logger.addHandler(self)
        try:
            yield self
        finally:
            logger.removeHandler(self)
            cls._listening -= 1
            if cls._listening == 0:
                logger.setLevel(cls._before[0])
                logger.propagate = cls._before[1]

    @contextlib.contextmanager
    def listening_to_warnings(self) -> Iterator[Self]:
        """Listen to the client's warnings until the block ends, as long as it is used. Blocks may overlap."""
        logger, cls = logging.getLogger("aiokafka"), ClientLog
        if cls._muting == 0:
            cls._propagated = logger.propagate
            logger.propagate = False
        cls._muting += 1
        logger.addHandler(self)
        try:
            yield self
        finally:
            logger.removeHandler(self)
            cls._muting -= 1
            if cls._muting == 0:
                logger.propagate = cls._propagated


def cause_in_words(error: BaseException, *, security_protocol: str | None = None, seconds: float | None = None) -> str:
    """The cause in a few words, with the setting that may be wrong. `seconds`: how long an answer was awaited."""
    protocol = f"DOCSLUICE_KAFKA_SECURITY_PROTOCOL{'=' + security_protocol if security_protocol else ''}"
    tls = _tls_alert(error)
    if tls is not None:
        return (
            f"it wants a client certificate, or another one (DOCSLUICE_KAFKA_SSL_CERTFILE, _SSL_KEYFILE): {tls.reason}"
        )
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} seconds" if seconds else "no answer in time"
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        # A server that speaks TLS closes on a client that does not. One that wants SASL, on a client that sends none.
        return f"it closed the connection; is {protocol} right?"
    if isinstance(error, ssl.SSLCertVerificationError):
        is_of_another = getattr(error, "verify_code", None) in _OF_ANOTHER_NAME
        setting = "KAFKA_BOOTSTRAP_SERVERS" if is_of_another else "DOCSLUICE_KAFKA_SSL_CAFILE"
        return f"{in_words(error)} ({setting})"
    if isinstance(error, ssl.SSLError):
        return f"{in_words(error)}; is {protocol} right?"
    if isinstance(error, KafkaError):
        kind = type(error).__name__
        return (
            f"not now, try again ({kind})"
            if broker_errors.is_passing(error)
            else f"{broker_errors.remedy(error)} ({kind})"
        )
    words, kind = in_words(error), type(error).__name__
    return words if words != kind else printable(str(error)) or kind


def took_and_closed(error: BaseException) -> bool:
    """Whether a server accepted the connection and closed it, or broke off the handshake."""
    return isinstance(error, KafkaConnectionError | ConnectionResetError | ssl.SSLError)


def is_final(error: BaseException) -> bool:
    """Whether the server refused our credentials or rights, or we refused its certificate."""
    if isinstance(error, ssl.SSLCertVerificationError) or _tls_alert(error) is not None:
        return True
    return isinstance(error, KafkaError) and not broker_errors.is_passing(error)


def _tls_alert(error: BaseException) -> ssl.SSLError | None:
    """The alert with which a server refuses a client without a certificate. TLS 1.3 sends it after the handshake."""
    for one in (error, error.__cause__):
        if isinstance(one, ssl.SSLError) and "CERTIFICATE" in _reason(one) and "ALERT" in _reason(one):
            return one
        if isinstance(one, ssl.SSLError) and _reason(one).endswith("CERTIFICATE_REQUIRED"):
            return one
    return None


def _reason(error: ssl.SSLError) -> str:
    return str(getattr(error, "reason", ""))  # one that no handshake has raised has none
