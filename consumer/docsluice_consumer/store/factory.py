"""The store of steps that a URL names."""

from __future__ import annotations

import importlib.util
import urllib.parse
from pathlib import Path

from docsluice.network.urls import is_redis
from docsluice_consumer.store.memory_store import MemoryStore, NoStore
from docsluice_consumer.store.redis_store import RedisStore
from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_consumer.store.step_store import StepStore

FILE = "steps.sqlite3"
"""In the state folder, where no URL names another place."""

_RULE = "must be a URL such as sqlite:////var/lib/docsluice/steps.sqlite3, redis://host:6379/0, memory:// or none://"


def checked_store_url(url: str) -> str:
    """Return the URL if it names a store that can be opened.

    Raises:
        ValueError: a sentence that says what the URL must be, or what is not installed. It does not quote the URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        is_url = url.startswith(f"{parts.scheme}://") and url.isprintable() and _names_a_store(parts)
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(_RULE)
    if parts.scheme in {"redis", "rediss"} and importlib.util.find_spec("redis") is None:
        raise ValueError("needs an extra: pip install 'docsluice[redis]'")
    return url


def open_store(url: str | None, *, state_dir: Path, max_bytes: int, max_age_seconds: float) -> StepStore:
    """The store at a URL that has been checked. Without one, the file `FILE` in `state_dir`.

    Nothing is opened or connected before first use. Redis itself decides how much it keeps.
    """
    parts = urllib.parse.urlsplit(url or "sqlite:")
    match parts.scheme:
        case "redis" | "rediss":
            return RedisStore(url=url or "", max_age_seconds=max_age_seconds)
        case "memory":
            return MemoryStore(max_bytes=max_bytes, max_age_seconds=max_age_seconds)
        case "none":
            return NoStore()
        case _:
            path = Path(_file_of(parts)) if url else state_dir / FILE
            return SqliteStore(path=path, max_bytes=max_bytes, max_age_seconds=max_age_seconds)


def place_of_store(url: str | None, *, state_dir: Path) -> str:
    """The store's place for a person, without user names and passwords."""
    parts = urllib.parse.urlsplit(url or "sqlite:")
    match parts.scheme:
        case "redis" | "rediss":
            return f"Redis at {parts.hostname}"
        case "memory" | "none":
            return parts.scheme
        case _:
            return _file_of(parts) if url else str(state_dir / FILE)


def _names_a_store(parts: urllib.parse.SplitResult) -> bool:
    match parts.scheme:
        case "redis" | "rediss":
            return is_redis(parts.geturl())
        case "sqlite":
            return not (parts.netloc or parts.query or parts.fragment) and _is_file(_file_of(parts))
        case "memory" | "none":
            return not any(parts[1:])
        case _:
            return False


def _file_of(parts: urllib.parse.SplitResult) -> str:
    """The file of a `sqlite:` URL: relative after three slashes, absolute after four."""
    return urllib.parse.unquote(parts.path.removeprefix("/"))


def _is_file(name: str) -> bool:
    return name.isprintable() and not name.endswith("/") and Path(name).name not in {"", ".."}
