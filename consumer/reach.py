"""Why a server cannot be reached, in a few words: the same ones for brokers and for providers."""

from __future__ import annotations

import os
import re
import socket
import ssl

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL says of a server that answers a handshake in the clear, or not at all."""


def in_words(error: BaseException) -> str:
    """What a connection's error says, fit to stand behind a colon; of its own text, only a certificate's verdict."""
    match error:
        case ssl.SSLError():
            return _of_tls(error)
        case socket.gaierror():
            return "no lookup of names works" if error.errno == socket.EAI_AGAIN else "its name is not known"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "it closed the connection"
        case TimeoutError():
            return "no answer"
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
        case OSError():
            return _of_several_addresses(error)
        case _:
            return type(error).__name__


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted, {error.verify_message}"
    return "it does not speak TLS" if error.reason in _NO_TLS else f"no TLS with it ({error.reason})"


def _of_several_addresses(error: OSError) -> str:
    """A name may have several addresses; asyncio then joins what it met at each, and drops the numbers."""
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))
    causes = dict.fromkeys(in_words(OSError(number, "")) for number in numbers)
    return ", ".join(causes) or type(error).__name__
