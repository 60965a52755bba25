"""The limit on open files. Each call is one, and so is each connection to a broker.

Idle connections to providers are counted in: all providers together have as many connections as there may be calls.

The soft limit is raised to what is needed, as far as the hard limit allows. If that is too little, fewer calls go out
at once. A call without a file would fail, and look like a provider that is away.
"""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import ssl

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
_AT_ONCE = 4
"""SQLite opens a file, its log, what it maps of that, and a journal."""
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})
_OF_THE_OTHER_END = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)


def make_room(*, calls: int, partitions: int = 0) -> None:
    """Raise the soft limit to what so many calls at once, and so many partitions, need. Say what could not be had."""
    needed = _needed(calls, partitions)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, needed):
        return
    raised = _raised(soft, hard, needed)
    if raised > soft:
        log.info("open_files.raised", limit=raised, was=soft, needed=needed)
    if raised < needed:
        log.warning(
            "open_files.too_few",
            reason=_too_few(raised, calls, needed),
            calls_at_once=fitting(calls),
            remedy=_remedy(needed),
        )


def why_too_few(*, calls: int) -> str | None:
    """A sentence, with its remedy, where the hard limit is too low for so many calls at once. None where it is not."""
    needed, (_, hard) = _needed(calls), resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if _is_enough(hard, needed) else f"{_too_few(hard, calls, needed)}; {_remedy(needed)}"


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


def _needed(calls: int, partitions: int = 0) -> int:
    return _BASE + MOST_HTTP_CONNECTIONS + max(partitions, _USUAL_PARTITIONS) * _PER_PARTITION + calls


def _too_few(limit: int, calls: int, needed: int) -> str:
    return f"ulimit -n is {limit}, and {calls} calls at once need {needed} open files"


def _remedy(needed: int) -> str:
    return (
        f"raise the limit to {needed} (ulimit -Hn, LimitNOFILE of systemd, ulimits of Docker), or lower"
        " DOCSLUICE_MAX_CONCURRENCY; until then fewer calls go out at once"
    )


def _is_for_a_file(error: BaseException) -> bool:
    """A lookup of a name opens files, as SQLite does, and neither says that it could not.

    A lookup may even fail with whatever number the system has left over, as "device or resource busy". Only what the
    other end has said, or not said in time, is certainly nothing else.
    """
    if isinstance(error, TimeoutError | ssl.SSLError) or not isinstance(error, OSError | sqlite3.OperationalError):
        return False
    number = getattr(error, "errno", None)
    return number in _TOO_MANY or (number not in _OF_THE_OTHER_END and not _can_open())


def _can_open() -> bool:
    """Whether there is room for as many files as one of the above opens, for those that it got are closed again."""
    opened: list[int] = []
    try:
        for _ in range(_AT_ONCE):
            opened.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - those before a failure must be closed
    except OSError:
        return False
    finally:
        for handle in opened:
            os.close(handle)
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
