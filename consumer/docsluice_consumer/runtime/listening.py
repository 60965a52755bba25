"""Why a port cannot be listened on."""

from __future__ import annotations

import errno
import os
import socket

_PORT_ERRORS = frozenset({errno.EADDRINUSE, errno.EACCES})
_HOST_ERRORS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def why_not_listening(error: Exception, *, host: str, port: int) -> str:
    """A sentence that names the host or the port, whichever must change. A ValueError means a bad host."""
    number = getattr(error, "errno", None)
    if number in _PORT_ERRORS:
        return f"DOCSLUICE_HTTP_PORT: cannot listen on port {port} of {host} ({os.strerror(number)}); choose another"
    if number is None or number in _HOST_ERRORS or isinstance(error, socket.gaierror):
        return f"DOCSLUICE_HTTP_HOST: {host} is no address of this machine; choose one that is, or 0.0.0.0 for all"
    return f"DOCSLUICE_HTTP_HOST, DOCSLUICE_HTTP_PORT: cannot listen on {host}:{port} ({os.strerror(number)})"
