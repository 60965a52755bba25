"""Which places an event may name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.objects.locations import Location, NotAllowed, location_of, prefix_of
from tests.examples import examples

PREFIXES = [
    prefix_of(one) for one in ("file:///data/in", "https://Files.example.com/texts/", "s3://bucket", "gs://b/x/")
]
PARTS = ["..", ".", "%2e%2e", "%2E.", "%2f", "%5c", "in", "..%2f", "a", "", "%00", "in-others", "x", "texts"]


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("file:///data/in/a.txt", Location("file", "", "/data/in/a.txt")),
        ("file://localhost/data/in/a%20b", Location("file", "", "/data/in/a%20b")),
        ("https://files.example.com/texts/1?sig=s", Location("https", "files.example.com", "/texts/1", "sig=s")),
        ("https://FILES.example.com:443/texts/1", Location("https", "files.example.com", "/texts/1")),
        ("s3://bucket/a/b.txt", Location("s3", "bucket", "a/b.txt")),
        ("gs://b/x/y", Location("gs", "b", "x/y")),
    ],
)
def test_a_place_below_a_prefix_is_allowed(uri: str, location: Location) -> None:
    """However its host is written."""
    assert location_of(uri, PREFIXES) == location


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "a.txt",
        "/data/in/a.txt",
        "http://files.example.com/texts/1",
        "ftp://files.example.com/texts/1",
        "file:///data/in-others/a",
        "file:///data/in",
        "file:///data/in/../secret",
        "file:///data/in/%2e%2e/secret",
        "file:///data/in/..%2fsecret",
        "file:///data/in/a\\..\\b",
        "file://host/data/in/a",
        "file:data/in/a",
        "https://files.example.com/other/1",
        "https://files.example.com.evil.net/texts/1",
        "https://files.example.com@evil.net/texts/1",
        "https://user:password@files.example.com/texts/1",
        "https://files.example.com:8443/texts/1",
        "https://evil.net/https://files.example.com/texts/1",
        "https://evil.net#files.example.com/texts/",
        "https://files.example.com/texts/1#a",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/texts/1",
        "https:///texts/1",
        "https://files.example.com:99999/texts/1",
        "s3://bucket-others/a",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket//",
        "s3://bucket/in/",
        "gs://b/x/",
        "https://files.example.com/texts/..;/secret",
        "https://files.example.com/texts/%2e%2e;a/secret",
        "file:///data/in/.;a/b",
        "s3://bucket/a?versionId=1",
        "s3://bucket:80/a",
        "s3:///a",
        "S3://bucket/../other/a",
        "gs://b/xy",
        "gs://b/x%2Fy",
        "az://bucket/a",
        "https://files.example.com/texts/\u0431",
        "https://files.example.com/texts/a b",
        "https://files.example.com/texts/a\nHost: evil.net",
        "https://files.example.com/texts/" + "a" * 3000,
    ],
)
def test_any_other_place_is_not(uri: str) -> None:
    """Nor one that two programs may read in two ways."""
    with pytest.raises(NotAllowed):
        location_of(uri, PREFIXES)


@given(
    scheme=st.sampled_from(["file", "https", "s3", "gs", "az", "http", "File"]),
    host=st.sampled_from(["", "files.example.com", "bucket", "b", "evil.net", "u@bucket", "bucket:1"]),
    parts=st.lists(st.sampled_from(PARTS), max_size=6),
)
@settings(max_examples=examples(500))
def test_what_is_allowed_lies_below_a_prefix(scheme: str, host: str, parts: list[str]) -> None:
    """Whatever the parts of the address."""
    try:
        found = location_of(f"{scheme}://{host}/{'/'.join(parts)}", PREFIXES)
    except NotAllowed:
        return
    path = found.path if found.path.startswith("/") else f"/{found.path}"
    assert any((one.scheme, one.host) == (found.scheme, found.host) and path.startswith(one.path) for one in PREFIXES)
    assert not {".", ".."} & set(path.split("/"))
    assert not any(code in path.lower() for code in ("%2e%2e", "%2f", "%5c", "%00", "\\"))


def test_no_message_shows_a_secret() -> None:
    """Neither a password nor what is behind a question mark."""
    for uri in ("https://me:hunter2@files.example.com/x", "https://evil.net/x?token=hunter2"):
        with pytest.raises(NotAllowed) as caught:
            location_of(uri, PREFIXES)
        assert "hunter2" not in str(caught.value)
    found = location_of("https://files.example.com/texts/1?token=hunter2", PREFIXES)
    assert "hunter2" not in f"{found.shown} {found}"


@pytest.mark.parametrize("written", ["bucket", "s3://", "https://a/?b=1", "https://u:p@a/", "file://a/b", "http://a/"])
def test_a_prefix_that_is_none_is_told(written: str) -> None:
    """At the start, and without a password."""
    with pytest.raises(ValueError, match=r".") as caught:
        prefix_of(written)
    assert "u:p" not in str(caught.value)
