"""`providers:` of the pipeline file: where models are asked besides the default provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from docsluice.messages import NotBlank
from docsluice.network.urls import checked_base_url
from docsluice.text.api_keys import begins_like_key, is_key_for_path, looks_like_key, names_a_secret
from docsluice.validation.validation_problems import FieldProblem
from docsluice_consumer.llm.pricing import OwnPrice, checked_price_rule
from docsluice_consumer.model_ref import DEFAULT_PROVIDER

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY_FIELDS = ("api_key_env", "api_key_file", "api_key_command")
_KEY_SOURCES = "use api_key_env, api_key_file or api_key_command"
_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-api-key", "proxy-authorization", "cookie"})
_OF_THE_ASKER = frozenset(
    {"http-referer", "referer", "x-title", "x-openrouter-title", "user-agent", "openai-organization", "openai-project"}
)
"""Headers that name the caller and shape no answer."""

PriceRule: TypeAlias = Annotated[
    Annotated[str, BeforeValidator(checked_price_rule), Tag("rule")] | Annotated[dict[str, OwnPrice], Tag("table")],
    Discriminator(lambda prices: "table" if isinstance(prices, dict) else "rule"),
]
"""`free`, the name of a provider in the price list, or a table of models."""


def provider_name(name: str) -> str:
    """Check a provider's name: it stands before a slash in a model's name, and in labels."""
    if name == DEFAULT_PROVIDER:
        raise ValueError(f"must not be {DEFAULT_PROVIDER}, which OPENAI_BASE_URL and OPENAI_API_KEY describe")
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1 to 64 lower-case letters, digits, hyphens and underscores, a letter first")
    return name


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("must be the name of a header")
    if name.lower() in _SECRET_HEADERS:
        raise ValueError(f"must not carry a secret; {_KEY_SOURCES}")
    return name


def _header_value(value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError("must hold printable ASCII only")
    return value


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        last = value.rpartition(" ")[2]  # behind a scheme such as Bearer
        if begins_like_key(value) or (names_a_secret(name) and looks_like_key(last)):
            raise FieldProblem(name, f"must not carry a secret; {_KEY_SOURCES}")
    return headers


def _variable(name: str) -> str:
    """Check the name of a variable. A key in its place is never quoted."""
    if _VARIABLE.fullmatch(name.strip("${}")) and name.startswith("$"):
        raise ValueError("must be the name of the variable, without the $")
    if not _VARIABLE.fullmatch(name) or looks_like_key(name):
        raise ValueError("must be the name of a variable, not the key itself")
    return name


def _key_path(path: str) -> str:
    if is_key_for_path(path):
        raise ValueError("must be the path of a file, not the key itself")
    return path


def _provider_url(url: str) -> str:
    return checked_base_url(url, key_setting="a variable, and the variable's name under api_key_env")


class Part(BaseModel):
    """A part of the file: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MinuteLimitsEntry(Part):
    """Limits a minute. None means not known."""

    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=True)
    tokens_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=True)
    input_tokens_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=True)
    output_tokens_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=True)

    @property
    def minute_limits(self) -> dict[str, float]:
        """Those that are set."""
        return {name: value for name in MinuteLimitsEntry.model_fields if (value := getattr(self, name)) is not None}


class AzureEntry(Part):
    """Azure OpenAI's classic address: the deployment stands in the path, the API's version in the query."""

    api_version: NotBlank


Headers: TypeAlias = Annotated[
    dict[Annotated[str, AfterValidator(_header)], Annotated[str, AfterValidator(_header_value)]],
    AfterValidator(_headers),
]


class ProviderEntry(MinuteLimitsEntry):
    """One account at one server. At most one source of the key. None for a server that wants none."""

    base_url: Annotated[str, AfterValidator(_provider_url)]
    api_key_env: Annotated[NotBlank, AfterValidator(_variable)] | None = None
    api_key_file: Annotated[NotBlank, AfterValidator(_key_path)] | None = None
    api_key_command: NotBlank | None = None
    headers: Headers = Field(default_factory=dict)
    azure: AzureEntry | None = None
    timeout_seconds: float | None = Field(default=None, gt=0, le=86_400)
    prices: PriceRule | None = None

    @property
    def shaping(self) -> dict[str, Any]:
        """What shapes its answers beside its address: only what is set, and nothing that may be secret."""
        headers = {
            name.lower(): value
            for name, value in sorted(self.headers.items(), key=lambda header: header[0].lower())
            if name.lower() not in _OF_THE_ASKER and not names_a_secret(name)
        }
        version = {"api_version": self.azure.api_version} if self.azure else {}
        return version | ({"headers": headers} if headers else {})

    @model_validator(mode="before")
    @classmethod
    def _no_key_inline(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping):
            for name in fields.keys() - cls.model_fields.keys():
                if names_a_secret(str(name)) and not str(name).startswith("api_key_"):
                    raise FieldProblem(str(name), "put the key into a variable and name that under api_key_env")
        return fields

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if sum(getattr(self, name) is not None for name in KEY_FIELDS) > 1:
            raise ValueError(f"only one of {', '.join(KEY_FIELDS)} may be set")
        if self.tokens_per_minute is not None and (self.input_tokens_per_minute or self.output_tokens_per_minute):
            raise ValueError("tokens_per_minute counts input and output together; set it or the two separate limits")
        return self
