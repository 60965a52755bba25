"""Checks addresses that a person wrote: brokers, topics, model servers, Redis. Pure."""

from __future__ import annotations

import re
import urllib.parse

_SERVER = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+)(:(?P<port>\d{1,5}))?")
LARGEST_PORT = 65_535
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_SECRET_PARAMETER = re.compile(r"key|token|secret|passw|^(sig|signature|code|auth)$", re.IGNORECASE)
_REDIS_PATH = re.compile(r"/?|/\d{1,4}")


def is_host(name: str | None) -> bool:
    """Whether a name can be looked up. Looking up any other raises errors that no library translates."""
    try:
        return bool(name) and bool((name or "").encode("idna"))
    except UnicodeError:
        return False


def checked_servers(servers: str) -> str:
    """Check brokers, as `host:port` with commas between. A port may be left out.

    Raises:
        ValueError: a sentence that says what it must be.
    """
    found = [_SERVER.fullmatch(server.strip()) for server in servers.split(",")]
    if not all(server and is_host(server["host"]) for server in found):
        raise ValueError("must be host:port, or several of them with commas between")
    if not all(0 < int(server["port"] or 1) <= LARGEST_PORT for server in found if server):
        raise ValueError(f"a port must be 1 to {LARGEST_PORT}")
    return servers


def checked_topic(name: str) -> str:
    """Check a topic's name by Kafka's own rule.

    Raises:
        ValueError: as above.
    """
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError("must be 1 to 249 letters (a to z), digits, dots, underscores or hyphens, and not . or ..")
    return name


def checked_base_url(url: str, *, key_setting: str = "OPENAI_API_KEY") -> str:
    """Check the URL of a model's server. `key_setting` is where a key in the URL belongs.

    Raises:
        ValueError: as above.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and is_host(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or " " in url or not url.isprintable():
        raise ValueError("must be a URL such as http://localhost:11434/v1")
    if "@" in parts.netloc:
        raise ValueError(f"must hold no user name or password; the key goes into {key_setting}")
    if parts.fragment or url.endswith("#"):
        raise ValueError("must end before the #: a server never sees what comes behind it")
    if any(_SECRET_PARAMETER.search(name) for name, _ in urllib.parse.parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError(f"must hold no key behind the ?; the key goes into {key_setting}")
    return url


def is_redis(url: str) -> bool:
    """Whether a URL is that of a Redis, in the lower-case spelling that redis-py wants."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_url = url.startswith(("redis://", "rediss://")) and parts.port != 0 and is_host(parts.hostname)
    except ValueError:
        return False
    return is_url and url.isprintable() and bool(_REDIS_PATH.fullmatch(parts.path))


def shown(url: str) -> str:
    """A URL for everybody to see: without user names, passwords and anything after the path."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "\u2026"
    host = parts.hostname or ""
    return urllib.parse.urlunsplit((parts.scheme, (f"[{host}]" if ":" in host else host) + port, parts.path, "", ""))


def passwords_in(url: str) -> tuple[str, ...]:
    """The password in a URL, as written and as decoded. Empty without a password."""
    try:
        password = urllib.parse.urlsplit(url).password
    except ValueError:
        return ()
    return (password, urllib.parse.unquote(password)) if password else ()
