"""The limit on open files. Each call is one, and so is each connection to a broker.

Idle connections to providers are counted in: all providers together have as many connections as there may be calls.

The soft limit is raised to what is needed, as far as the hard limit allows. If that is too little, fewer calls go out
at once. A call without a file would fail, and look like a provider that is away.
"""

from __future__ import annotations

import errno
import os
import resource
import socket

import structlog

from docsluice.network.exception_chain import causes

log = structlog.get_logger(__name__)

_BASE = 40
"""Connections to each broker, the store, a few readers of the HTTP port, Python. On one broker 12 were seen."""
MOST_HTTP_CONNECTIONS, _LEAST_HTTP = 64, 8
"""Connections to the HTTP port. The least are a part of `_BASE`."""
_PER_PARTITION = 3
"""A transactional producer is connected to the partition's broker and to the coordinators': 2 on one broker."""
_USUAL_PARTITIONS = 8
_RESERVED = _BASE + _USUAL_PARTITIONS * _PER_PARTITION
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})


def make_room(*, calls: int, partitions: int = 0) -> None:
    """Raise the soft limit to what `calls` at once and `partitions` need. Log what was not possible."""
    needed = _BASE + MOST_HTTP_CONNECTIONS + max(partitions, _USUAL_PARTITIONS) * _PER_PARTITION + calls
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, needed):
        return
    raised = _raised(soft, hard, needed)
    if raised > soft:
        log.info("open_files.raised", limit=raised, was=soft, needed=needed)
    if raised < needed:
        log.warning(
            "open_files.too_few",
            reason=f"ulimit -n is {raised}, and {calls} calls at once need {needed} open files",
            calls_at_once=fitting(calls),
            remedy=f"raise the limit to {needed} (ulimit -Hn, LimitNOFILE of systemd, ulimits of Docker), or lower"
            " DOCSLUICE_MAX_CONCURRENCY; until then fewer calls go out at once",
        )


def fitting(calls: int) -> int:
    """How many of `calls` the limit allows at once, beside other open files. At least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return calls if _is_enough(soft, _RESERVED + calls) else max(1, soft - _RESERVED)


def http_connections(*, calls: int) -> int:
    """How many connections the HTTP port may hold at once without taking a call's place."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, _RESERVED + MOST_HTTP_CONNECTIONS + calls):
        return MOST_HTTP_CONNECTIONS
    return min(MOST_HTTP_CONNECTIONS, max(_LEAST_HTTP, soft - _RESERVED - calls))


def why_no_file(error: BaseException) -> str | None:
    """A sentence if an error comes from too many open files, ours or the machine's. Else None."""
    if not any(map(_is_for_a_file, causes(error, with_contexts=True))):
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"too many open files in this process (ulimit -n is {soft}): raise it, or lower DOCSLUICE_MAX_CONCURRENCY"


def _is_for_a_file(error: BaseException) -> bool:
    """Whether an error may come from a missing file. A name lookup opens files, and does not say that it could not."""
    if isinstance(error, socket.gaierror):
        return not _can_open()
    return getattr(error, "errno", None) in _TOO_MANY


def _can_open() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def _is_enough(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed


def _raised(soft: int, hard: int, needed: int) -> int:
    """Raise the soft limit, and return it."""
    wanted = needed if _is_enough(hard, needed) else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # some systems have a bound of their own below the hard limit
        return soft
    return wanted
