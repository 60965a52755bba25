"""A provider of models: its address, how it is reached, and its credentials."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.llm.credentials import Credentials, NoKey

_CHAT = "/chat/completions"
_CLASSIC_DEPLOYMENT = re.compile(r"(?P<root>.*/openai)/deployments/(?P<name>[^/]+)")
_AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_V1 = re.compile(r"/openai/v1(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One account at one address, with the names of its settings for messages."""

    name: str = "default"
    base_url: str | None = None
    credentials: Credentials = field(default_factory=NoKey)
    headers: Mapping[str, str] = field(default_factory=dict)
    azure_api_version: str | None = None
    request_timeout_seconds: float = 60.0
    key_setting: str = "OPENAI_API_KEY"
    address_setting: str = "OPENAI_BASE_URL"
    model_setting: str = "DOCSLUICE_MODEL"
    secrets: KnownSecrets = field(default_factory=KnownSecrets)
    """Secrets of the whole process: a gateway may tell one provider's key to another's caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where calls go. `base_url` is None for OpenAI's own address. `chat` may hold `{model}`."""

    base_url: str | None
    query: Mapping[str, str] = field(default_factory=dict)
    chat: str = _CHAT
    models: str = "/models"
    is_classic_azure: bool = False

    def chat_path(self, model: str) -> str:
        """The path of a call to this model, behind the base URL."""
        return self.chat.replace("{model}", urllib.parse.quote(model, safe=""))


def address_of(base_url: str | None, *, azure_api_version: str | None = None) -> Address:
    """Parse a base URL, which may have a query, the call's own path, or Azure's classic form.

    Azure's classic address has the deployment in its path and the API's version in its query. Its `/openai/v1/` address
    is like everybody's.
    """
    if not base_url:
        return Address(base_url=None)
    parts = urllib.parse.urlsplit(base_url.strip())
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    if azure_api_version:
        query["api-version"] = azure_api_version
    path = parts.path.rstrip("/").removesuffix(_CHAT)

    def at(base: str) -> str:
        return urllib.parse.urlunsplit((parts.scheme, parts.netloc, base, "", ""))

    classic = _CLASSIC_DEPLOYMENT.fullmatch(path)
    if classic:
        deployment = f"/deployments/{classic['name']}{_CHAT}"
        return Address(base_url=at(classic["root"]), query=query, chat=deployment, is_classic_azure=True)
    is_azure = ("api-version" in query and (parts.hostname or "").endswith(_AZURE_HOSTS)) or bool(azure_api_version)
    if is_azure and not _V1.search(path):
        root = path if path.endswith("/openai") else f"{path}/openai"
        return Address(base_url=at(root), query=query, chat=f"/deployments/{{model}}{_CHAT}", is_classic_azure=True)
    return Address(base_url=at(path), query=query)
