"""Why a server cannot be reached, in a few words: the same ones for brokers and for providers."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL says of a server that answers a handshake in the clear, or not at all."""


def in_words(error: BaseException) -> str:
    """What a connection's error says, fit to stand behind a colon. Of its own text, only a certificate's verdict."""
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
    """A lookup opens a socket and a few files, and says nothing of it when it cannot."""
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
    """A name may have several addresses. asyncio then joins what it met at each, and drops the numbers."""
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))
    causes = dict.fromkeys(in_words(OSError(number, "")) for number in numbers)
    return ", ".join(causes) or type(error).__name__
