"""What a server turns out not to know, and how calls do without it.

After a complaint that a part of the request is not supported, the call leaves it out (`guesses.py`). A complaint about
a size does not count. The answer to that call confirms it. It then holds for a model, or for a model's step if it is
about the schema. After a minute one call tries the fuller form again, and later each time if that is still refused.
Pure: time is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from docsluice_consumer.llm.error_body import ProviderError
from docsluice_consumer.llm.error_meaning import meaning_by_code
from docsluice_consumer.llm.error_table import Meaning

OUTPUT_BOUNDS = ("max_tokens", "max_completion_tokens")
SYSTEM_ROLE, STRICT, RESPONSE_FORMAT = "system role", "strict", "response_format"
NO_JSON_SCHEMA, NO_JSON_OBJECT = "response_format json_schema", "response_format json_object"
KEYWORDS = (
    *("minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minProperties", "maxProperties", "patternProperties"),
    *("additionalProperties", "default", "title", "description", "examples", "const", "contains", "$schema"),
)
"""Keywords of JSON schema that a schema can do without: our own reading of the answer checks them anyway."""

_SPEAKS_OF_PARAMETERS = frozenset({400, 404, 415, 422, 501})
_TEMPLATE_FAILED = 500
"""What llama.cpp and SGLang say when a chat template raises."""
_FIRST_HELD_SECONDS, _LONGEST_HELD_SECONDS = 60.0, 3600.0
_QUIET_SECONDS = 600.0
_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
_UNSUPPORTED = re.compile(
    r"un(?:supported|implemented)|not (?:currently |yet )?supported|only \S{1,60} (?:is|are) supported"
    r"|(?:doesn'?t|does not|do not|cannot|not) support|no support"
    r"|un(?:known|recogni[sz]ed|expected)|not (?:permitted|allowed|accepted|recogni[sz]ed)"
    r"|not (?:enabled|implemented|available)"
    r"|extra (?:inputs|fields?|parameters?|properties)|extraneous|(?:does not|doesn'?t|not) accept|is deprecated"
    r"|only the default|may only be set|cannot (?:both )?be (?:specified|used|set|combined)|no such (?:field|parameter)"
    r"|only [\d.]{1,8} is allowed|can handle the requested parameters"
    r"|not a valid (?:field|parameter|argument)|invalid (?:\S{1,60} )?(?:parameter|argument|field)|cannot find field"
    r"|missing field|input should be ['\"](?:text|json_)"
    r"|unavailable|failed to (?:parse grammar|initialize samplers|compile)|response_format\S* must be"
    r"|invalid (?:grammar|(?:json )?schema)|grammar error|can be specified,? but not both"
    r"|only [^;.]{0,40}roles|roles must alternate"
)
_SCHEMA_IS_TOO_MUCH = re.compile(
    r"(?:schemas?|grammar|constraint)\b[^;.]{0,120}(?:too (?:large|many|complex|deep|big)|exceeds?\b)"
)
"""Complaints that hold for all documents, with a way around them."""
_PROMPT_IS_TOO_MUCH = re.compile(
    r"\b(?:prompt|input|messages?|document|text)s?\b[^;.]{0,60}(?:too (?:large|long|many|big)|exceeds?\b)"
    r"|exceeds?\b[^;.]{0,40}\bcontext\b"
)
"""Complaints about this document, though they may mention a schema."""
_OF_A_SIZE = re.compile(
    r"too (?:large|small|high|low|big|long|short|many|few)|at (?:most|least)|out of range|range of|exceeds?\b"
    r"|(?:greater|less|more|larger|smaller) than|between \S+ and|[<>]="
    r"|must be (?:in|within|positive|a number|an integer)"
)
_MISSING = re.compile(r"\b(?:missing|required|must (?:be provided|include|specify|be set))\b")
_OF_THE_FORMAT = re.compile(
    r"response[_ ]format|format\.schema|json[_ ]?schema|json[_ ]object|structured[_ ]outputs?|json mode"
    r"|guided|constrained|grammar|samplers|requested parameters"
)
_OF_THE_SYSTEM_ROLE = re.compile(
    r"(?:system|developer)['\"`]? (?:role|message|prompt|instruction)|(?:does not|doesn't) support ['\"`]?system\b"
    r"|only [^;.]{0,40}roles|roles must alternate|messages?[\[.]\d+\]?\.role"
)
_OTHER_NAMES = {
    "frequency_penalty": ("penalty",),
    "presence_penalty": ("penalty",),
    "reasoning_effort": ("thinking level", "thinking_level", "thinking budget", "thinking_budget", "reasoning.effort"),
}
"""As gateways pass it on (Gemini)."""
_WANTED = re.compile(r"\b(\w{3,40}?)['\"`]? ?(?:must be set to |必须设置为)['\"`]?(true|false)(?![a-z])", re.ASCII)
_ONLY_STREAMS = re.compile(r"\bonly supports? stream(?:ing)?(?: mode)?\b|仅支持流式?模式")
_STREAM = "stream"
_MEANINGS = {
    SYSTEM_ROLE: "the system turn is put before the first user turn",
    STRICT: "the schema is sent without strict mode",
    NO_JSON_SCHEMA: "the schema is spelled out in the prompt, and JSON is asked for",
    NO_JSON_OBJECT: "the schema is spelled out in the prompt, and no format is asked for",
    **dict.fromkeys(OUTPUT_BOUNDS, "the bound on the answer goes by its other name, or is left out"),
}
_IN_MARKS = "['\"`“”]"
_PLAIN_WORD = re.compile(r"[a-z]+")
_IN_A_LIST = r"\b(?:propert(?:y|ies)|keywords?|keys?|fields?) (?:[\w$]{1,30}(?:, | and |, and )){0,8}"

Knowledge: TypeAlias = frozenset[str]
"""The names of what is left out of a request."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """One thing learned, for the log."""

    parameter: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one call has sent that its server might not know."""

    model: str
    step: str
    without: Knowledge
    parameters: Collection[str] = ()
    keywords: Collection[str] = ()
    has_system: bool = True


@dataclass(slots=True)
class _Belief:
    """How long something learned holds. A false word costs a minute, a true one a refused call an hour."""

    until: float
    seconds: float = _FIRST_HELD_SECONDS

    def put_off(self, *, now: float) -> None:
        """Note that it is tried now. If it is refused again, it holds for twice as long."""
        self.seconds = min(_LONGEST_HELD_SECONDS, self.seconds * 2)
        self.until = now + self.seconds


@dataclass(slots=True)
class Capabilities:
    """What is known of each model of one provider."""

    _beliefs: dict[tuple[str, str, str], _Belief] = field(default_factory=dict)
    """What was learned, by model, step (or none) and name."""
    _told: dict[tuple[str, str], float] = field(default_factory=dict)
    """When it was last logged, by model and name."""

    def without(self, *, model: str, step: str) -> Knowledge:
        """The names to leave out of a call."""
        return frozenset(name for _, name in self._of(model, step))

    def to_try(self, offered: Callable[[], Collection[str]], *, model: str, step: str, now: float) -> str | None:
        """The name that this call alone sends again although it was once refused. None if nothing is due.

        `offered` returns all that the call has to send. It is called only if something is due.
        """
        for key, name in self._of(model, step):
            if self._beliefs[key].until <= now and name in offered():
                self._beliefs[key].put_off(now=now)
                return name
        return None

    def learn(self, name: str, *, model: str, step: str, now: float) -> Discovery | None:
        """A call without this was answered, and one with it was refused. None where that was known."""
        key = (model, step if _is_of_the_schema(name) else "", name)
        if key in self._beliefs:
            return None
        self._beliefs[key] = _Belief(until=now + _FIRST_HELD_SECONDS)
        return Discovery(name, _meaning(name))

    def forget(self, name: str, *, model: str, step: str) -> bool:
        """Forget a name, because a call with it was answered. Returns whether it had been learned."""
        keys = [key for key, known in self._of(model, step) if known == name]
        for key in keys:
            del self._beliefs[key]
        return bool(keys)

    def is_news(self, discovery: Discovery, *, model: str, now: float) -> bool:
        """Whether what was learned is worth a line in the log. A model that flaps is told of once in a while only."""
        last = self._told.get((model, discovery.parameter))
        if last is not None and now < last + _QUIET_SECONDS:
            return False
        self._told[model, discovery.parameter] = now
        return True

    def _of(self, model: str, step: str) -> Iterator[tuple[tuple[str, str, str], str]]:
        for key in tuple(self._beliefs):
            if key[0] == model and key[1] in {"", step}:
                yield key, key[2]


def missed(error: ProviderError, sent: Sent) -> str | None:
    """What the server asks for, and was not sent because of what was learned."""
    said = f"{error.param} {error.words}".lower()
    if error.status not in _SPEAKS_OF_PARAMETERS or not _MISSING.search(said):
        return None
    return next((name for name in sorted(sent.without - {NO_JSON_SCHEMA, NO_JSON_OBJECT}) if _names(name, said)), None)


def complaint(error: ProviderError, sent: Sent) -> str | None:
    """The name that a refusal says the model does not know, or asks for. None if it is about something else."""
    words = error.words.lower()
    if meaning_by_code(error) is Meaning.TOO_LARGE or _PROMPT_IS_TOO_MUCH.search(words):
        return None
    return _wanted(error) or _not_known(error, words, sent)


def _not_known(error: ProviderError, words: str, sent: Sent) -> str | None:
    is_too_much = bool(sent.keywords) and _SCHEMA_IS_TOO_MUCH.search(words)
    if not (error.codes & _CODES or is_too_much or _UNSUPPORTED.search(words)):
        return None
    about = f"{error.param.lower()} {words}"
    if error.status not in _SPEAKS_OF_PARAMETERS:
        template_failed = error.status == _TEMPLATE_FAILED and sent.has_system
        return SYSTEM_ROLE if template_failed and _OF_THE_SYSTEM_ROLE.search(about) else None
    if is_too_much:
        return _weaker("", sent)
    keyword = next((word for word in sent.keywords if _names_keyword(word, error)), None)
    if keyword:
        return keyword
    named = _first_named(error.param.lower(), sent) or _first_named(words, sent)
    if _is_of_a_size(error, named):
        return None
    if sent.has_system and SYSTEM_ROLE not in sent.without and _OF_THE_SYSTEM_ROLE.search(about):
        return SYSTEM_ROLE
    if named and named != RESPONSE_FORMAT:
        return named
    is_of_the_format = RESPONSE_FORMAT in sent.parameters and (named or _OF_THE_FORMAT.search(about))
    return _weaker(about, sent) if is_of_the_format else None


def _is_of_a_size(error: ProviderError, named: str | None) -> bool:
    """Whether a complaint is about the size of a value. A code may say otherwise, except about the answer's bound."""
    words = error.words.lower()
    if not _OF_A_SIZE.search(words):
        return False
    return named in OUTPUT_BOUNDS or not (error.codes & _CODES or "only the default" in words)


def asked_for(knowledge: Knowledge) -> dict[str, Any]:
    """The fields of the body that a model asks for by name and value, such as `enable_thinking=false`."""
    pairs = (name.split("=") for name in sorted(knowledge) if "=" in name)
    fields: dict[str, Any] = {name: value == "true" for name, value in pairs}
    return fields | ({"stream_options": {"include_usage": True}} if fields.get(_STREAM) else {})


def _wanted(error: ProviderError) -> str | None:
    """A field and its value, if the server names both. Only a switch: anything else may be a bound on a value."""
    if error.status not in _SPEAKS_OF_PARAMETERS:
        return None
    if _ONLY_STREAMS.search(error.words.lower()):
        return f"{_STREAM}=true"
    found = _WANTED.search(error.words)
    return None if found is None or found[1] in {*KEYWORDS, STRICT} else f"{found[1]}={found[2]}"


def without_keywords(schema: Any, left_out: Collection[str]) -> Any:
    """A schema without these keywords, at any depth. Names of properties are no keywords."""
    if not left_out:
        return schema
    if isinstance(schema, list):
        return [without_keywords(item, left_out) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {}
    for name, value in schema.items():
        if name in {"properties", "$defs", "definitions"} and isinstance(value, Mapping):
            kept[name] = {inner: without_keywords(part, left_out) for inner, part in value.items()}
        elif name not in left_out:
            kept[name] = (
                value if name in {"enum", "const", "default", "examples"} else without_keywords(value, left_out)
            )
    return kept


def keywords_in(schema: Any) -> frozenset[str]:
    """The optional keywords in a schema."""
    return frozenset(word for word in KEYWORDS if without_keywords(schema, {word}) != schema)


def _weaker(about: str, sent: Sent) -> str | None:
    """The next weaker form of structured outputs: first without `strict`, if that is named."""
    if STRICT not in sent.without and _names(STRICT, about) and NO_JSON_SCHEMA not in sent.without:
        return STRICT
    if NO_JSON_SCHEMA not in sent.without:
        return NO_JSON_SCHEMA
    return None if NO_JSON_OBJECT in sent.without else NO_JSON_OBJECT


def _first_named(said: str, sent: Sent) -> str | None:
    """The parameter that is named first. A later one may be what to use instead."""
    found: list[tuple[int, str]] = []
    for name in sent.parameters:
        spellings = [name.lower(), name.replace("_", "").lower(), *_OTHER_NAMES.get(name, ())]
        place = re.search(rf"(?<![\w-])(?:{'|'.join(map(re.escape, spellings))})(?![\w-])", said)
        if place:
            found.append((place.start(), name))
    return min(found)[1] if found else None


def _names(name: str, said: str) -> bool:
    return bool(re.search(rf"(?<![\w-]){re.escape(name.split(maxsplit=1)[0].lower())}(?![\w-])", said))


def _names_keyword(word: str, error: ProviderError) -> bool:
    """Whether a keyword is named, also in snake case. An ordinary word counts only in quotation marks or a list."""
    said = f"{error.param} {error.words}"
    snake = re.sub(r"([A-Z])", r"_\1", word).lower()
    for spelling in {word, snake}:
        plain = _PLAIN_WORD.fullmatch(spelling)
        named = re.escape(spelling)
        pattern = f"{_IN_MARKS}{named}{_IN_MARKS}|{_IN_A_LIST}{named}\\b" if plain else rf"(?<![\w$]){named}(?!\w)"
        if re.search(pattern, said):
            return True
    return False


def _is_of_the_schema(name: str) -> bool:
    return name in KEYWORDS or name in {NO_JSON_SCHEMA, NO_JSON_OBJECT}


def _meaning(name: str) -> str:
    if name in KEYWORDS:
        return "the schema is sent without this keyword, and the answer is checked against it all the same"
    if "=" in name:
        return "it is sent with the calls to this model, which asks for it"
    return _MEANINGS.get(name, "it is left out of the calls to this model")
