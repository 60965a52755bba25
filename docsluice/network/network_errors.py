"""Why a server cannot be reached, in a few words that are the same for brokers and providers."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
"""OpenSSL's reasons for a server that answers a handshake in the clear, or not at all."""


def in_words(error: BaseException) -> str:
    """A connection error in words that fit behind a colon. Of its own text only a certificate's verdict is kept."""
    error = getattr(error, "certificate_error", error)  # aiohttp's own has no verdict
    match error:
        case ssl.SSLError():
            return _of_tls(error)
        case socket.gaierror():
            return _of_a_name(error)
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "it closed the connection"
        case TimeoutError():
            return "no answer"
        case OSError(errno=int(number)):
            return _of_a_number(number)
        case OSError():
            return _of_several_addresses(error)
        case _:
            return type(error).__name__


def _of_a_number(number: int) -> str:
    what = os.strerror(number).lower()
    return f"{what}; raise the limit (ulimit -n)" if number in {errno.EMFILE, errno.ENFILE} else what


def _of_a_name(error: socket.gaierror) -> str:
    """Explain a failed lookup. It opens a socket and a few files, and does not say when it cannot."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as other:
        return in_words(other)
    return "no lookup of names works" if error.errno == socket.EAI_AGAIN else "its name is not known"


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted, {error.verify_message}"
    return "it does not speak TLS" if error.reason in _NO_TLS else f"no TLS with it ({error.reason})"


def _of_several_addresses(error: OSError) -> str:
    """Explain an error of several addresses. asyncio joins their messages and drops the error numbers."""
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))
    causes = dict.fromkeys(in_words(OSError(number, "")) for number in numbers)
    return ", ".join(causes) or type(error).__name__
