"""What a call costs: own prices first, then the bundled list of `genai-prices`. Always `Decimal`.

The price is that of the called provider, which its address tells. At an address that the list does not know, a model is
priced by its name only if nobody but its vendor, or Bedrock, can serve it. Such a server is a gateway. All other names
are free there, because an own server costs nothing by the token.

The list is imported when something is first looked up in it. It takes 4 MiB, which a service with prices of
its own never needs.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from docsluice.messages import Usage
from docsluice.text.api_keys import looks_like_key
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.yaml_file import load_yaml, unfit
from docsluice_consumer.model_ref import DEFAULT_PROVIDER, ModelRef

FREE = "free"
_OPENAI = "openai"
_MILLION = Decimal(1_000_000)
_MILLIONS = (
    Usage(input_tokens=1_000_000),
    Usage(input_tokens=1_000_000, cached_tokens=1_000_000),
    Usage(output_tokens=1_000_000),
)
_SAMPLES = (Usage(input_tokens=301, cached_tokens=47, output_tokens=53), Usage(input_tokens=250_007, output_tokens=1))
_CLOSED_MODELS = ("openai", "anthropic", "google", "x-ai")
"""Vendors whose models nobody else can host, except the open ones that the list also has."""
_OPEN_MODELS = ("gpt-oss", "gemma")
_AS_BEDROCK_NAMES_IT = re.compile(r"(?:[a-z]{2,6}\.)?[a-z0-9]{2,20}\.[a-z][\w.:-]*")
_BEDROCK = "aws"
_LOCAL_SUFFIXES = (".local", ".internal", ".localhost", ".lan", ".home", ".svc")


class PriceList(Protocol):
    """Knows what tokens cost."""

    def cost_usd(self, model: ModelRef, usage: Usage) -> Decimal | None:
        """US dollars, or None when the model has no known price."""
        ...

    def has_own(self, model: ModelRef) -> bool:
        """Whether a person has set this model's price."""
        ...


def cost_of_call(prices: PriceList, model: ModelRef, usage: Usage, *, stated: Decimal | None) -> Decimal | None:
    """The cost in US dollars. None if it is unknown.

    A price that a person has set counts most, then what the provider has `stated`, then the list.
    """
    return prices.cost_usd(model, usage) if stated is None or prices.has_own(model) else stated


class OwnPrice(BaseModel):
    """A model's price in US dollars for a million tokens.

    Without a price of its own, cached input costs as other input.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_usd_per_million_tokens: Decimal = Field(ge=0)
    output_usd_per_million_tokens: Decimal = Field(ge=0)
    cached_input_usd_per_million_tokens: Decimal | None = Field(default=None, ge=0)

    def cost_usd(self, usage: Usage) -> Decimal:
        """Price the tokens of one call."""
        cached_price = self.cached_input_usd_per_million_tokens
        if cached_price is None:
            cached_price = self.input_usd_per_million_tokens
        total = (
            (usage.input_tokens - usage.cached_tokens) * self.input_usd_per_million_tokens
            + usage.cached_tokens * cached_price
            + usage.output_tokens * self.output_usd_per_million_tokens
        )
        return total / _MILLION


_OwnPrices: TypeAlias = dict[str, OwnPrice]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRules:
    """How one provider's calls are priced.

    Attributes:
        base_url: its address. None is OpenAI's own.
        rule: `free`, a provider's name in the list, or None to go by the address.
        own: prices by model that come before all others.
    """

    base_url: str | None = None
    rule: str | None = None
    own: Mapping[str, OwnPrice] = field(default_factory=dict)

    def cost_usd(self, name: str, usage: Usage, *, now: float = 0.0) -> Decimal | None:
        """US dollars, or None when the model has no known price here. Each minute its rates are looked up again."""
        if name in self.own:
            return self.own[name].cost_usd(usage)
        listed = None if self.rule == FREE else _listed(self.base_url, self.rule, name)
        if listed is None:
            return Decimal(0) if self.rule == FREE or is_own_network(self.base_url) else None
        provider, listed_name = listed
        return _price(provider, listed_name, usage, minute=int(now // 60))

    def has_own(self, name: str) -> bool:
        """Whether a person has set this model's price, or said that all is free."""
        return self.rule == FREE or name in self.own


class Prices:
    """The price list of all providers, by their names. `own` prices are by label and come before all others.

    `clock` is the time of day in seconds, since some prices go by it.
    """

    def __init__(
        self,
        *,
        own: Mapping[str, OwnPrice] | None = None,
        rules: Mapping[str, PriceRules] | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._clock = clock
        self._own = dict(own or {})
        self._rules = {DEFAULT_PROVIDER: PriceRules(), **(rules or {})}

    def cost_usd(self, model: ModelRef, usage: Usage) -> Decimal | None:
        """US dollars, or None when the model has no known price."""
        if (own := self._own.get(str(model))) is not None:
            return own.cost_usd(usage)
        return self._rules[model.provider].cost_usd(model.name, usage, now=self._clock())

    def has_own(self, model: ModelRef) -> bool:
        """Whether a person has set this model's price: that counts more than what a provider states."""
        return str(model) in self._own or self._rules[model.provider].has_own(model.name)


def load_own_prices(path: Path) -> dict[str, OwnPrice]:
    """Read a YAML file of `model: {input_usd_per_million_tokens: …, output_usd_per_million_tokens: …}`.

    Raises:
        ConfigurationError: a sentence for each problem.
    """
    try:
        file = load_yaml(path, name=str(path), variable="DOCSLUICE_PRICES")
    except ConfigurationError as error:
        if path.suffix or len(path.parts) > 1 or not isinstance(error.__cause__, FileNotFoundError):
            raise
        close = _close_to(str(path))
        meant = f" (did you mean {close}?)" if close else ""
        raise ConfigurationError([f"{error.problems[0]}; it is no provider of the price list either{meant}"]) from error
    try:
        return TypeAdapter(_OwnPrices).validate_python(file.value)
    except ValidationError as error:
        raise unfit(error, file, expected=_OwnPrices) from error


def is_price_rule(text: str) -> bool:
    """Whether a text is `free`, or a provider's name in the list."""
    return text == FREE or text in _names()


def checked_price_rule(rule: object) -> str:
    """Check a rule.

    Raises:
        ValueError: a sentence that says what it must be.
    """
    allowed = f"({FREE}, a provider, or a table)"
    if not isinstance(rule, str) or looks_like_key(rule):
        raise ValueError(f"must say how calls are priced {allowed}")
    if not is_price_rule(rule):
        close = _close_to(rule)
        meant = f"; did you mean {close}?" if close else ""
        raise ValueError(f"{rule} is no provider of the price list{meant} {allowed}")
    return rule


def is_own_network(base_url: str | None) -> bool:
    """Whether an address is on this machine or a private network, as far as its name tells."""
    host = (urllib.parse.urlsplit(base_url).hostname or "") if base_url else "api.openai.com"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_SUFFIXES)
    return address.is_private or address.is_loopback or address.is_link_local


def _close_to(word: str) -> str | None:
    """The rule that was probably meant, if any."""
    return next(iter(difflib.get_close_matches(word.lower(), [FREE, *_names()], n=1)), None)


def _names() -> list[str]:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - see above

    return sorted(provider.id for provider in get_snapshot().providers)


@cache
def _listed(base_url: str | None, rule: str | None, name: str) -> tuple[str, str] | None:
    """The list's provider and name by which a model is priced. None if it has no price."""
    provider = rule or (_OPENAI if base_url is None else _provider_at(base_url))
    if provider is not None:
        names = dict.fromkeys((name, name.removeprefix("models/"), name.rpartition("/")[2]))
        return next(((provider, one) for one in names if _price(provider, one, Usage()) is not None), None)
    bare = name.rpartition("/")[2]
    if _AS_BEDROCK_NAMES_IT.fullmatch(bare) and _price(_BEDROCK, bare, Usage()) is not None:
        return _BEDROCK, bare
    is_tagged = ":" in bare and not bare.startswith("ft:")  # as Ollama names what it hosts
    if is_tagged or bare.lower().startswith(_OPEN_MODELS):
        return None
    return next(((vendor, bare) for vendor in _CLOSED_MODELS if _price(vendor, bare, Usage()) is not None), None)


def _provider_at(base_url: str) -> str | None:
    """The provider of the list that has this address."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - see above

    try:
        return str(get_snapshot().find_provider(None, None, base_url).id)
    except LookupError:
        return None


@dataclass(frozen=True, slots=True)
class _Rates:
    """US dollars for a token. Most models have no other prices, and then there is no need to ask the list each time."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def cost_usd(self, usage: Usage) -> Decimal:
        return (
            (usage.input_tokens - usage.cached_tokens) * self.input
            + usage.cached_tokens * self.cached
            + usage.output_tokens * self.output
        )


def _price(provider: str, name: str, usage: Usage, *, minute: int = 0) -> Decimal | None:
    rates = _rates(provider, name, minute)
    return _listed_price(provider, name, usage) if rates is None else rates.cost_usd(usage)


@lru_cache(maxsize=1024)
def _rates(provider: str, name: str, _minute: int) -> _Rates | None:
    """The model's rates now. None if the list has no price, or one that is no rate, such as one by the prompt's length.

    Two prices of the list are compared with what the rates make of them.
    """
    whole = [_listed_price(provider, name, usage) for usage in _MILLIONS]
    if None in whole:
        return None
    input_usd, all_cached_usd, output_usd = (price / _MILLION for price in whole if price is not None)
    rates = _Rates(input_usd, all_cached_usd, output_usd)
    is_all = all(_listed_price(provider, name, usage) == rates.cost_usd(usage) for usage in _SAMPLES)
    return rates if is_all else None


def _listed_price(provider: str, name: str, usage: Usage) -> Decimal | None:
    import genai_prices  # noqa: PLC0415 - see above

    priced = genai_prices.Usage(
        input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_tokens, output_tokens=usage.output_tokens
    )
    try:
        return genai_prices.calc_price(priced, name, provider_id=provider).total_price
    except LookupError:
        return None
