"""Which places an event may name. Pure.

An event's `uri` comes from whoever may write to the topic, and we read it with our own rights. So only what lies below
a prefix that the operator has named is read, and an address that two programs may read in two ways is refused.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field

from docsluice.network.urls import is_host, shown

BUCKETS = ("s3", "gs", "az")
SCHEMES = ("file", "https", *BUCKETS)
_MOST_CHARACTERS = 2048
_USUAL_PORT = 443


class NotAllowed(ValueError):
    """The place may not be read. The message shows no more of it than everybody may see."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place below an allowed prefix. `host` is the bucket's name where there are buckets, else with its port.

    `path` is as it is to be asked for, without its first slash where there are buckets. `query` may hold a secret.
    """

    scheme: str
    host: str
    path: str
    query: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """The store that it is in: what can be away."""
        return f"{self.scheme}://{self.host}"

    @property
    def shown(self) -> str:
        """For everybody to see: without the query."""
        return f"{self.scheme}://{self.host}{self.path if self.path.startswith('/') else f'/{self.path}'}"


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the operator allows. `path` begins and ends with a slash."""

    scheme: str
    host: str
    path: str


def prefix_of(written: str) -> Prefix:
    """A prefix, as a setting has it. A slash is put at its end: `s3://in` is not `s3://in-others`.

    Raises:
        ValueError: a sentence that says what it must be.
    """
    try:
        scheme, host, path, query = _parts(written)
    except NotAllowed as problem:
        raise ValueError(f"{shown(written)}: {problem}") from None
    if query:
        raise ValueError(f"{shown(written)}: must end before the question mark")
    return Prefix(scheme, host, f"{path.rstrip('/')}/")


def location_of(uri: str, prefixes: Iterable[Prefix]) -> Location:
    """The place that a uri names.

    Raises:
        NotAllowed: it is no such address, or it is below none of the prefixes.
    """
    scheme, host, path, query = _parts(uri)
    if query and scheme != "https":
        raise NotAllowed("has a question mark, which only https: knows")
    if not any((one.scheme, one.host) == (scheme, host) and path.startswith(one.path) for one in prefixes):
        raise NotAllowed(f"{scheme}://{host} is below no prefix that DOCSLUICE_OBJECT_PREFIXES allows")
    if scheme in BUCKETS and path.endswith("/"):
        raise NotAllowed("names no object: a bucket would answer with the list of what is in it")
    return Location(scheme, host, path if scheme in {"file", "https"} else path[1:], query)


def _parts(uri: str) -> tuple[str, str, str, str]:
    """Scheme, host, path and query.

    Raises:
        NotAllowed: it is no such address, or could be read in two ways.
    """
    if len(uri) > _MOST_CHARACTERS:
        raise NotAllowed(f"has more than {_MOST_CHARACTERS:,} characters")
    if not uri.isascii() or not uri.isprintable() or " " in uri or "\\" in uri:
        raise NotAllowed(
            "has a blank, a backslash or another character that an address does not have; escape it with %"
        )
    try:
        parts = urllib.parse.urlsplit(uri)
        port = parts.port
    except ValueError:
        raise NotAllowed("is no address") from None
    if parts.scheme not in SCHEMES:
        raise NotAllowed(f"must begin with one of {', '.join(f'{one}:' for one in SCHEMES)}")
    if "@" in parts.netloc or parts.fragment or uri.endswith("#"):
        raise NotAllowed("has a user name, a password or a #")
    host = _host(parts.scheme, parts.netloc, port)
    for segment in parts.path.split("/"):
        plain = urllib.parse.unquote(segment)
        if plain.partition(";")[0] in {".", ".."} or "/" in plain or "\\" in plain or "\0" in plain:
            raise NotAllowed("has . or .. or an escaped slash in its path")
    if not parts.path.startswith("/"):
        return parts.scheme, host, "/", parts.query
    return parts.scheme, host, parts.path, parts.query


def _host(scheme: str, netloc: str, port: int | None) -> str:
    if scheme == "file":
        if netloc not in {"", "localhost"}:
            raise NotAllowed("names a host; a file is file:///path")
        return ""
    if scheme != "https":
        if not netloc or port is not None or ":" in netloc:
            raise NotAllowed("has no bucket")
        return netloc
    name = netloc.rpartition(":")[0] if port is not None else netloc.rstrip(":")
    if not is_host(name.strip("[]")):
        raise NotAllowed("has no host")
    return name.lower() if port in {None, _USUAL_PORT} else f"{name.lower()}:{port}"
