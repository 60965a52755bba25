"""A character: what one provider really answers. One YAML file holds one. Each datum names its public source."""

import re
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from docsluice_local.rehearsal.characters.templates import SAMPLE_FACTS, facts_in, fill

Meaning: TypeAlias = Literal["stop", "length", "content_filter", "other"]
Counted: TypeAlias = Literal["prompt", "completion", "answer", "total", "cached", "uncached", "reasoning"]
QuotaName: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens"]

_ISSUE = re.compile(r"[\w.-]+/[\w.-]+#\d+")
_LIMIT_FACTS = frozenset(
    f"{what}_{part}"
    for what in ("requests", "tokens", "input_tokens", "output_tokens", "day")
    for part in ("limit", "remaining", "reset")
)


class ErrorKind(StrEnum):
    """What an error means, whatever its status and words. The value is its name in a file and in an order."""

    RATE_LIMITED = "rate_limited"
    """More than a minute allows."""
    DAILY_QUOTA = "daily_quota"
    """More than a day allows."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The account is empty, suspended or over its budget."""
    REQUEST_TOO_LARGE_FOR_LIMIT = "request_too_large_for_limit"
    """The request alone is more than a minute allows, so it can never pass."""
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    """The provider itself gave up on the call."""
    BAD_KEY = "bad_key"
    FORBIDDEN = "forbidden"
    """The key may not do this, or not from here."""
    UNKNOWN_MODEL = "unknown_model"
    BAD_PATH = "bad_path"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    TOO_LARGE = "too_large"
    """The prompt is more than the model can read."""
    CONTENT_FILTERED = "content_filtered"
    REJECTED = "rejected"
    """Another request that is not valid."""
    MODEL_LOADING = "model_loading"


def _is_public(source: str) -> str:
    """Let through what a reader can look up.

    Raises:
        ValueError: it is neither an address nor an issue.
    """
    if not source.startswith("https://") and not _ISSUE.fullmatch(source):
        raise ValueError("must be an https:// address, or an issue such as owner/repository#123")
    return source


Source: TypeAlias = Annotated[str, AfterValidator(_is_public)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(_Entry):
    """One answer that is no completion, with facts such as `${limit}` in its words.

    `stand_in` means that the source tells status and meaning only, so that the words of the body are ours.
    """

    status: int = Field(ge=200, le=599)
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: JsonValue
    stand_in: bool = False
    source: Source

    @model_validator(mode="after")
    def _knows_its_facts(self) -> "Response":
        if unknown := (facts_in(self.body) | facts_in(dict(self.headers))) - SAMPLE_FACTS.keys():
            raise ValueError(f"no such fact: {', '.join(sorted(unknown))}. There are {', '.join(SAMPLE_FACTS)}")
        return self

    def filled(self, facts: Mapping[str, str | int]) -> tuple[dict[str, str], Any]:
        """Headers and body with these facts in them."""
        headers = {name: str(fill(value, facts)) for name, value in self.headers.items()}
        return headers, fill(self.body, facts)


class DocumentedError(Response):
    """An error as the provider sends it. `of` tells which limit a rate limit is on, where its words say so."""

    kind: ErrorKind
    of: Literal["requests", "tokens"] | None = None


class Refusal(Response):
    """A parameter that is refused: always, with one value (`value`), or with every value but one (`allows`).

    `models` are patterns such as `gpt-5*`. None means all. The value of `response_format` is its type.
    """

    parameter: str
    models: tuple[str, ...] = ()
    value: JsonValue = None
    allows: JsonValue = None

    def meets(self, *, model: str, parameters: Mapping[str, Any]) -> bool:
        """Whether a request with these parameters is refused for this one."""
        if self.parameter not in parameters or (self.models and not matches(model, self.models)):
            return False
        sent = parameters[self.parameter]
        if isinstance(sent, dict):
            sent = sent.get("type")
        if self.value is not None:
            return bool(sent == self.value)
        return self.allows is None or sent != self.allows


class Quirk(_Entry):
    """One thing to know, in a plain sentence."""

    text: str
    source: Source


class Azure(_Entry):
    """What Azure's classic address needs."""

    api_version: str


class Recipe(_Entry):
    """How to reach the provider. No `key` means that it asks for none."""

    base_url: str
    key: str | None = None
    model: str
    prices: str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)
    azure: Azure | None = None
    note: str | None = None
    source: Source


class LimitHeaders(_Entry):
    """Rate-limit headers of an ordinary answer. Their facts are such as `${tokens_limit}` and `${day_reset}`.

    Attributes:
        reset: how a reset is written, `2m59.56s` or as a number.
        requests_per_day: the day's limit that `${day_…}` tells of.
        teaches: the limits a minute that can be told from these headers.
    """

    reset: Literal["duration", "seconds", "whole_seconds", "epoch_milliseconds"] = "seconds"
    requests_per_day: int | None = None
    headers: Mapping[str, str]
    teaches: tuple[QuotaName, ...]
    source: Source

    @model_validator(mode="after")
    def _knows_its_facts(self) -> "LimitHeaders":
        named = facts_in(dict(self.headers))
        if unknown := named - _LIMIT_FACTS:
            raise ValueError(f"no such fact: {', '.join(sorted(unknown))}. There are {', '.join(sorted(_LIMIT_FACTS))}")
        if any(name.startswith("day_") for name in named) and self.requests_per_day is None:
            raise ValueError("requests_per_day: the headers tell of a day's limit")
        return self


class UsageFields(_Entry):
    """The `usage` object: the name of a count stands where the number goes, anything else is sent as it is.

    `completion` includes reasoning, `answer` does not. `written_as` is the type of every count.
    """

    shape: dict[str, JsonValue]
    written_as: Literal["int", "float", "string"] = "int"
    source: Source


class Thinking(_Entry):
    """Where reasoning is shown: in a field of the message, as `<think>` before the answer, or in parts of content.

    `hidden` shows none of it, though it is counted.
    """

    place: Literal["reasoning_content", "reasoning", "think", "parts", "hidden"]
    models: tuple[str, ...]
    source: Source


class AnswerShape(_Entry):
    """What a completion holds beside the usual fields."""

    top: dict[str, JsonValue] = Field(default_factory=dict)
    choice: dict[str, JsonValue] = Field(default_factory=dict)
    message: dict[str, JsonValue] = Field(default_factory=dict)
    thinking: Thinking | None = None


class FinishReasons(_Entry):
    """Every spelling of a finish reason, with its meaning. `other` is an answer that was broken off."""

    spellings: dict[str, Meaning]
    source: Source


class Character(_Entry):
    """One provider. `summary` is a line for a list."""

    name: str
    title: str
    summary: str
    recipe: Recipe
    headers: Mapping[str, str] = Field(default_factory=dict)
    limits: LimitHeaders | None = None
    usage: UsageFields
    finish_reasons: FinishReasons
    answer: AnswerShape = AnswerShape()
    refuses: tuple[Refusal, ...] = ()
    errors: tuple[DocumentedError, ...]
    quirks: tuple[Quirk, ...] = ()

    def errors_of(self, kind: ErrorKind) -> tuple[DocumentedError, ...]:
        """What the provider answers for this reason, most usual first. Empty where nothing is known."""
        return tuple(error for error in self.errors if error.kind is kind)

    @property
    def kinds(self) -> tuple[ErrorKind, ...]:
        """The kinds of error that are known of it."""
        return tuple(kind for kind in ErrorKind if self.errors_of(kind))

    def refusal_of(self, *, model: str, parameters: Mapping[str, Any]) -> Refusal | None:
        """The first complaint about a request's parameters."""
        return next((each for each in self.refuses if each.meets(model=model, parameters=parameters)), None)

    def thinks(self, model: str) -> bool:
        """Whether this model reasons before it answers."""
        return self.answer.thinking is not None and matches(model, self.answer.thinking.models)

    def spelling_of(self, meaning: str) -> str:
        """The usual spelling of a finish reason."""
        return next((name for name, each in self.finish_reasons.spellings.items() if each == meaning), meaning)


def matches(model: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns fits the model's name."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)
