"""Reads a provider's error, whatever the shape of its body."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from docsluice.text.redaction import SECRET, Redaction, redaction_of
from docsluice.validation.json_values import json_value
from docsluice_consumer.llm.quoted import Quoted

_MOST_NODES = 200
_DEEPEST = 8
_WORDS = frozenset(
    {"message", "msg", "detail", "error", "error_description", "error_msg", "status_msg", "title", "description"}
)
_CODES = frozenset(
    {"code", "type", "status", "reason", "error_type", "err_code", "error_code", "quotaid", "status_code"}
)
_TELLING, _LEAST = {"reason": 0, "code": 1, "status": 2, "error_code": 1}, 3
_INSIDE = frozenset(
    {
        *("error", "errors", "detail", "details", "message", "metadata", "raw", "innererror", "violations"),
        *("base_resp", "headers"),
    }
)
"""Fields that may hold more of an error. Fields that repeat the request, such as `input`, are not among them."""
_TEXTS = _WORDS | {"raw"}
_DELAYS = frozenset(
    {"retrydelay", "retry_after", "retry_after_seconds", "retry-after", "estimated_time", "x-ratelimit-reset"}
)
_FLAT = ("message", "msg", "error_msg")
"""What a body without `choices` says that is an error as a whole."""
_PROVIDERS_OWN = frozenset({"error", "errors", "base_resp", "detail"})
_IS_CODE = re.compile(r"[\w.:/ -]{1,80}")
_TITLE_BEGINS = re.compile(r"<title\b[^<>]*+>", re.IGNORECASE)
_TITLE_ENDS = re.compile(r"</title", re.IGNORECASE)
_TAGS = re.compile(r"<[^<>]*+>")
"""Patterns that look at each character only a few times: thousands of `<` in a row must not block the loop."""
_RUN_FOR_MEANING, _RUN_FOR_LOG = 24, 10
"""Letters in a row. The first is longer than what a document shares with a provider's message by chance."""
_ERRORS = range(400, 600)
_UNKNOWN_ERROR = 500
_MOST_CHARACTERS = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderError:
    """One error of a provider. Nothing in it quotes the request or a secret."""

    status: int
    codes: frozenset[str] = frozenset()
    """In small letters: its code, type and reason, and those of an error that it wraps."""
    label: str = ""
    """The most specific code, as it was written."""
    words: str = ""
    """The error's words, for the message and for finding its meaning."""
    own_words: str = ""
    """`words` without quotations of the request, for meanings that concern all calls."""
    loggable: str = ""
    """The same for the log, and stricter about what might quote the document."""
    param: str = ""
    """The request's fields that it names."""
    delays: tuple[str, ...] = ()
    """When to come back, if a field of the body says so."""
    request: Quoted = field(default_factory=Quoted, repr=False, compare=False)
    """The request that it may quote."""

    def __str__(self) -> str:
        return f"{self.status} {self.label}".strip()


@dataclass(slots=True)
class _Found:
    """What the walk through a body has met so far."""

    quoted: Quoted
    words: list[str] = field(default_factory=list)
    codes: list[tuple[int, str]] = field(default_factory=list)
    """The field's rank by its name (lower says more), and its content."""
    params: list[str] = field(default_factory=list)
    delays: list[str] = field(default_factory=list)
    nodes: int = 0


def read_error(
    status: int, body: bytes, *, quoted: Quoted | None = None, secrets: Collection[str] = ()
) -> ProviderError:
    """Read the body of an error. Its size was bounded when it was received (`response_limit.py`)."""
    said = _as_json(body.decode("utf-8-sig", errors="replace").strip())
    return _read(status, said, quoted or Quoted(), redaction_of(tuple(secrets)))


def error_inside(body: Any, *, quoted: Quoted | None = None, secrets: Collection[str] = ()) -> ProviderError | None:
    """The error inside a 200. None if there is none.

    Its status is the code inside, if that is a status. Otherwise it is 500, because the error may pass.
    """
    if not isinstance(body, Mapping):
        return None
    says = {name: value for name, value in body.items() if str(name).lower() in _PROVIDERS_OWN and value}
    if body.get("object") == "error" or (not says and "choices" not in body and any(map(body.get, _FLAT))):
        says = dict(body)
    if not says:
        return None
    return _read(_status_inside(says) or _UNKNOWN_ERROR, says, quoted or Quoted(), redaction_of(tuple(secrets)))


def html_title(text: str) -> str | None:
    """The title of a web page. None of anything else."""
    begins = _TITLE_BEGINS.search(text)
    ends = _TITLE_ENDS.search(text, begins.end()) if begins else None
    return " ".join(text[begins.end() : ends.start()].split()) if begins and ends else None


def _read(status: int, body: Any, quoted: Quoted, redaction: Redaction) -> ProviderError:
    found = _Found(quoted)
    if isinstance(body, str):
        found.words.append(html_title(body) or _TAGS.sub(" ", body))
    else:
        _walk(body, found, depth=0)
    said = redaction.line("; ".join(dict.fromkeys(found.words)), most=_MOST_CHARACTERS)
    params = redaction.line(" ".join(found.params), most=_MOST_CHARACTERS)
    told = (redaction.line(code, most=_MOST_CHARACTERS) for _, code in sorted(found.codes, key=itemgetter(0)))
    codes = [code for code in told if SECRET not in code]
    codes = [
        code
        for code in codes
        if _IS_CODE.fullmatch(code if " " not in code else quoted.cut_from(code, run=_RUN_FOR_LOG))
    ]
    named = [code for code in codes if not code.isdigit()]
    return ProviderError(
        status=status,
        codes=frozenset(code.lower() for code in codes),
        label=next(iter(named), ""),
        # The cut text may have stood between two parts of a secret.
        words=redaction.line(quoted.cut_from(said, run=_RUN_FOR_MEANING)),
        own_words=redaction.line(quoted.strictly_cut_from(said, run=_RUN_FOR_MEANING)),
        loggable=redaction.line(quoted.strictly_cut_from(said, run=_RUN_FOR_LOG)),
        param=redaction.line(quoted.cut_from(params, run=_RUN_FOR_MEANING)),
        delays=tuple(map(redaction.line, found.delays)),
        request=quoted,
    )


def _as_json(text: str) -> Any:
    """The JSON that a text is. The text itself where it is none."""
    if not text.startswith(("{", "[", '"')):
        return text
    try:
        return json_value(text)
    except ValueError:
        return text


def _walk(node: Any, found: _Found, *, depth: int) -> None:
    """Gather words, codes and parameters from the fields that are known to hold them, outer ones first."""
    found.nodes += 1
    if depth > _DEEPEST or found.nodes > _MOST_NODES:
        return
    inner: Iterable[Any] = ()
    if isinstance(node, str):
        wrapped = _as_json(node.strip())
        if isinstance(wrapped, str) or found.quoted.is_in(node, run=_RUN_FOR_MEANING):
            found.words += [node] * bool(node.strip())  # a document may be the JSON of an error, too
        else:
            inner = [wrapped]
    elif isinstance(node, list):
        inner = node
    elif isinstance(node, Mapping):
        named = [(str(name).lower(), value) for name, value in node.items()]
        for name, value in named:
            _note(name, value, found)
        inner = [value for name, value in named if name in (_TEXTS if isinstance(value, str) else _INSIDE)]
    for value in inner:
        _walk(value, found, depth=depth + 1)


def _note(name: str, value: Any, found: _Found) -> None:
    if name in _CODES and isinstance(value, str | int) and not isinstance(value, bool):
        found.codes.append((_TELLING.get(name, _LEAST), str(value)))
    elif name in {"param", "loc"} and value:
        steps = value if isinstance(value, list) else [value]
        found.params.append(".".join(str(step) for step in steps[:_MOST_NODES] if isinstance(step, str | int)))
    elif name in _DELAYS and isinstance(value, str | int | float):
        found.delays.append(str(value))


def _status_inside(node: Any, depth: int = 0) -> int | None:
    """The first number that is the status of an error."""
    if isinstance(node, list) and node:
        return _status_inside(node[0], depth + 1)
    if not isinstance(node, Mapping) or depth > _DEEPEST:
        return None
    return next(_numbers(node, depth), None)


def _numbers(node: Mapping[Any, Any], depth: int) -> Iterator[int]:
    for name in ("code", "status", "status_code"):
        text = str(node.get(name, ""))
        if text.isascii() and text.isdigit() and len(text) == len("400") and int(text) in _ERRORS:
            yield int(text)
    for name in _PROVIDERS_OWN | {"message"}:
        status = _status_inside(node.get(name), depth + 1)
        if status:
            yield status
