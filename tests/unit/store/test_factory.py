"""Which store a URL names."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from docsluice_consumer.store.factory import checked_store_url, open_store, place_of_store
from docsluice_consumer.store.memory_store import MemoryStore, NoStore
from docsluice_consumer.store.redis_store import RedisStore
from docsluice_consumer.store.sqlite_store import SqliteStore
from tests.fakes.step_contracts import DAY, PLENTY, fingerprint, paid

PASSWORD = "hunter2-secret"
RULE = r"^must be a URL such as sqlite:////var/lib/docsluice/steps.sqlite3, redis://host:6379/0, memory:// or none://$"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///steps.sqlite3", SqliteStore),
        ("sqlite:////var/lib/docsluice/steps.sqlite3", SqliteStore),
        ("redis://host", RedisStore),
        ("redis://host:6379/0", RedisStore),
        (f"rediss://user:{PASSWORD}@host:6379/0", RedisStore),
        ("redis://[::1]:6379/0", RedisStore),
        ("memory://", MemoryStore),
        ("none://", NoStore),
    ],
)
async def test_a_url_names_a_store(tmp_path: Path, url: str, kind: type) -> None:
    """Nothing is connected or created for it yet."""
    assert checked_store_url(url) == url
    store = open_store(url, state_dir=tmp_path / "state", max_bytes=PLENTY, max_age_seconds=DAY)
    assert type(store) is kind
    await store.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (None, "state/steps.sqlite3"),
        ("", "state/steps.sqlite3"),
        ("sqlite:///there/own.db", "there/own.db"),
        ("sqlite:///{tmp_path}/absolute/own.db", "absolute/own.db"),
        ("sqlite:///with%20space.db", "with space.db"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
async def test_a_file_is_where_the_url_says(tmp_path: Path, url: str | None, path: str) -> None:
    """From where the process runs, from the root, or in the state folder when nothing is said."""
    url = url and url.format(tmp_path=tmp_path)
    store = open_store(url, state_dir=tmp_path / "state", max_bytes=PLENTY, max_age_seconds=DAY)
    await store.put(fingerprint("a"), paid())
    await store.close()
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [tmp_path / path]


@pytest.mark.parametrize(
    "url",
    [
        "steps.sqlite3",
        "sqlite:steps.sqlite3",
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite:////var/",
        "sqlite:///..",
        "sqlite://host/steps.sqlite3",
        "sqlite:///steps.sqlite3?mode=ro",
        "sqlite:///steps.sqlite3#1",
        "sqlite:///a%00b",
        "sqlite:///a\nb",
        "SQLITE:///steps.sqlite3",
        "redis://",
        "redis://:6379",
        "redis:host",
        "redis://host:0",
        "redis://host:port",
        "redis://host:70000",
        "redis://host/name",
        "redis://..",
        f"http://user:{PASSWORD}@host",
        "memory",
        "memory:",
        "memory://here",
        "memory:///",
        "none://x",
        "none:",
        "postgres://host",
        "redis://[",
        "",
    ],
)
def test_what_names_no_store_is_told_so(url: str) -> None:
    """In one sentence, which does not repeat it: a URL may hold a password."""
    with pytest.raises(ValueError, match=RULE):
        checked_store_url(url)


def test_what_redis_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others need nothing."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "redis" else find(name))
    for url in ("redis://host", "rediss://host"):
        with pytest.raises(ValueError, match=r"^needs an extra: pip install 'docsluice\[redis\]'$"):
            checked_store_url(url)
    for url in ("memory://", "sqlite:///x"):
        assert checked_store_url(url) == url


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (None, "state/steps.sqlite3"),
        ("sqlite:///a/b.sqlite3", "a/b.sqlite3"),
        ("sqlite:////a/b.sqlite3", "/a/b.sqlite3"),
        ("rediss://me:secret@redis.example:6379/0", "Redis at redis.example"),
        ("memory://", "memory"),
        ("none://", "none"),
    ],
)
def test_a_store_is_named_without_its_secrets(url: str | None, place: str) -> None:
    """So that a person sees which one is used."""
    assert place_of_store(url, state_dir=Path("state")) == place
