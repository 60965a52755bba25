"""Where the calls to a provider go."""

from __future__ import annotations

import pytest

from docsluice_consumer.llm.provider import Address, address_of

AZURE = "https://acme.openai.azure.com"


@pytest.mark.parametrize(
    ("base_url", "version", "where"),
    [
        (None, None, (None, {}, "/chat/completions")),
        ("", None, (None, {}, "/chat/completions")),
        ("http://localhost:8000/v1", None, ("http://localhost:8000/v1", {}, "/chat/completions")),
        ("http://localhost:8000/v1/", None, ("http://localhost:8000/v1", {}, "/chat/completions")),
        (" http://localhost:8000/v1/chat/completions ", None, ("http://localhost:8000/v1", {}, "/chat/completions")),
        ("http://gw/v1?tenant=a&x=", None, ("http://gw/v1", {"tenant": "a", "x": ""}, "/chat/completions")),
        (
            f"{AZURE}/openai/deployments/d?api-version=2024-10-21",
            None,
            (f"{AZURE}/openai", {"api-version": "2024-10-21"}, "/deployments/d/chat/completions"),
        ),
        (
            f"{AZURE}/openai/deployments/d/chat/completions?api-version=2024-10-21",
            None,
            (f"{AZURE}/openai", {"api-version": "2024-10-21"}, "/deployments/d/chat/completions"),
        ),
        (
            AZURE,
            "2024-10-21",
            (f"{AZURE}/openai", {"api-version": "2024-10-21"}, "/deployments/a%2Fb/chat/completions"),
        ),
        (
            f"{AZURE}/openai?api-version=1",
            None,
            (f"{AZURE}/openai", {"api-version": "1"}, "/deployments/a%2Fb/chat/completions"),
        ),
        (
            "https://gateway.acme.com/azure/",
            "2024-10-21",
            (
                "https://gateway.acme.com/azure/openai",
                {"api-version": "2024-10-21"},
                "/deployments/a%2Fb/chat/completions",
            ),
        ),
        (f"{AZURE}/openai/v1/", None, (f"{AZURE}/openai/v1", {}, "/chat/completions")),
        (
            f"{AZURE}/openai/v1?api-version=preview",
            None,
            (f"{AZURE}/openai/v1", {"api-version": "preview"}, "/chat/completions"),
        ),
        ("https://x/v1?api-version=1", None, ("https://x/v1", {"api-version": "1"}, "/chat/completions")),
    ],
)
def test_a_base_url_is_understood(
    base_url: str | None, version: str | None, where: tuple[str | None, dict[str, str], str]
) -> None:
    """With a query, as far as the path of the call, or Azure's of either kind."""
    address = address_of(base_url, azure_api_version=version)
    assert (address.base_url, dict(address.query), address.chat_path("a/b")) == where
    assert address.is_classic_azure == ("/deployments/" in where[2])


def test_openais_own_address_is_left_to_the_sdk() -> None:
    """It knows it best."""
    assert address_of(None) == Address(base_url=None)
