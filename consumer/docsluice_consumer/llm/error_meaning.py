"""What an error of a provider means, by the table of codes and words (`error_table.py`), whatever the status. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docsluice_consumer.llm.error_body import ProviderError
from docsluice_consumer.llm.error_table import (
    CODES,
    LONG_QUOTA_CODE,
    NONE_AT_ALL,
    OF_A_MINUTE,
    OVERLOAD_CODES,
    OVERLOAD_WORDS,
    QUOTA_CODES,
    TOO_FAST_CODE,
    WORDS,
    Meaning,
)

_IN_THIS_ORDER = (
    Meaning.CLOSED_ACCOUNT,
    Meaning.FILTERED,
    Meaning.BAD_KEY,
    Meaning.INVALID_ANSWER,
    Meaning.OUTPUT_BOUND,
    Meaning.TOO_LARGE,
    Meaning.NOT_READY,
    Meaning.UNKNOWN_MODEL,
    Meaning.NO_PERMISSION,
)
_OF_ONE_CALL = frozenset({Meaning.FILTERED, Meaning.TOO_LARGE, Meaning.INVALID_ANSWER})
"""Meanings that a quoted document may have, because no other document is affected."""
_AN_HOUR, _A_DAY = 3_600.0, 86_400.0
_SECONDS = {"hour": _AN_HOUR, "rph": _AN_HOUR, "tph": _AN_HOUR, "week": 7 * _A_DAY, "month": 30 * _A_DAY}


def meaning_of(error: ProviderError) -> Meaning | None:
    """What an error means, by its code first, else by its words. None if both say nothing."""
    is_too_fast = any(map(TOO_FAST_CODE.search, error.codes))
    is_none_at_all = _is_own(NONE_AT_ALL, error)
    if _is_own(OF_A_MINUTE, error) and not is_none_at_all:
        return Meaning.TOO_FAST
    comes_back = (is_too_fast or error.codes & QUOTA_CODES) and not is_none_at_all
    is_empty = not comes_back and _is_own(WORDS[Meaning.EMPTY_ACCOUNT], error)
    if is_empty or error.codes & CODES[Meaning.EMPTY_ACCOUNT]:
        return Meaning.EMPTY_ACCOUNT
    if _is_own(WORDS[Meaning.NOT_READY], error):
        return Meaning.NOT_READY  # whatever the code: before a model is loaded, LM Studio says that it is not found
    by_code = meaning_by_code(error)
    if by_code is Meaning.NO_PERMISSION and _is_too_fast(error):
        return Meaning.TOO_FAST  # a code for any refusal, and words that say which
    # A request that is too large for the limit by itself is not too fast: waiting changes nothing.
    if "too large" not in error.words.lower() and (is_too_fast or (by_code is None and _is_too_fast(error))):
        return Meaning.TOO_FAST
    return by_code or next((meaning for meaning in _IN_THIS_ORDER if _told(meaning, error)), None)


def meaning_by_code(error: ProviderError) -> Meaning | None:
    """What an error's code alone says. None if that is no meaning that concerns one call."""
    return next((meaning for meaning in _IN_THIS_ORDER if error.codes & CODES.get(meaning, frozenset())), None)


def _is_too_fast(error: ProviderError) -> bool:
    return _is_own(WORDS[Meaning.TOO_FAST], error) and not is_overload(error)


def _told(meaning: Meaning, error: ProviderError) -> bool:
    if meaning in _OF_ONE_CALL:
        return bool(WORDS[meaning].search(error.words.lower()))
    return _is_own(WORDS[meaning], error)


def _is_own(pattern: re.Pattern[str], error: ProviderError) -> bool:
    """Whether the provider's own words match. A match that begins or ends with words of the request means nothing."""
    return any(True for _ in _own(pattern, error))


def _own(pattern: re.Pattern[str], error: ProviderError) -> Iterator[str]:
    said = (error.own_words or error.words).lower()
    return (found[0] for found in pattern.finditer(said) if not error.request.is_edge_of(found[0]))


def long_quota_seconds(error: ProviderError) -> float | None:
    """The period of a used-up quota in seconds, if it is longer than a minute's."""
    found = [LONG_QUOTA_CODE.search(code) for code in error.codes]
    if not any(found):
        found = [WORDS[Meaning.LONG_QUOTA].search(error.words.lower())]
    return max((_seconds_of(one[0]) for one in found if one), default=None)


def _seconds_of(quota: str) -> float:
    return next((seconds for unit, seconds in _SECONDS.items() if unit in quota), _A_DAY)


def is_overload(error: ProviderError) -> bool:
    """Whether the server says that it is overloaded, whatever the status."""
    return bool(error.codes & OVERLOAD_CODES) or _is_own(OVERLOAD_WORDS, error)
