"""Why a server cannot be reached, in words that need no knowledge of sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
import ssl

import pytest

from docsluice.network.network_errors import in_words

SECRET = "sk-verysecret"


def _ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {SECRET}")
    error.reason = reason
    return error


def _untrusted(why: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, SECRET)
    error.verify_message = why
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, SECRET), "connection refused"),
        (OSError(errno.ECONNRESET, SECRET), "it closed the connection"),
        (OSError(errno.EPIPE, SECRET), "it closed the connection"),
        (OSError(errno.ETIMEDOUT, SECRET), "no answer"),
        (TimeoutError(), "no answer"),
        (OSError(errno.EHOSTUNREACH, SECRET), "no route to host"),
        (OSError(errno.ENETUNREACH, SECRET), "network is unreachable"),
        (socket.gaierror(socket.EAI_NONAME, SECRET), "its name is not known"),
        (socket.gaierror(socket.EAI_AGAIN, SECRET), "no lookup of names works"),
        (_ssl_error("WRONG_VERSION_NUMBER"), "it does not speak TLS"),
        (_ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"), "no TLS with it (TLSV1_ALERT_PROTOCOL_VERSION)"),
        (_untrusted("self-signed certificate"), "its certificate is not trusted, self-signed certificate"),
        (OSError(f"Multiple exceptions: [Errno 111] {SECRET}, [Errno 111] {SECRET}"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 101] x, [Errno 111] y"), "network is unreachable, connection refused"),
        (OSError(errno.EMFILE, SECRET), "too many open files; raise the limit (ulimit -n)"),
        (OSError(SECRET), "OSError"),
        (ValueError(SECRET), "ValueError"),
    ],
    ids=repr,
)
def test_an_error_is_a_few_words(error: Exception, words: str) -> None:
    """Its own text, which may hold anything, is not among them."""
    assert in_words(error) == words


def test_a_lookup_without_a_free_file_is_told_as_such() -> None:
    """The resolver says only that the name is not known."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        said = in_words(socket.gaierror(socket.EAI_NONAME, SECRET))
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert said == "too many open files; raise the limit (ulimit -n)"


async def test_what_the_system_really_raises() -> None:
    """A port on which nobody listens."""
    with pytest.raises(OSError, match="Connect call failed") as caught:
        await asyncio.open_connection("localhost", 1)
    assert in_words(caught.value) == "connection refused"
