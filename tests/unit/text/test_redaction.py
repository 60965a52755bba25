"""A secret stays out of every text, however a server spells it."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest

from docsluice.text.redaction import SECRET, Redaction, cut_secrets, plain
from docsluice_consumer.llm import completion
from docsluice_consumer.llm.error_body import ProviderError, read_error
from docsluice_consumer.llm.quoted import Quoted

KEY = "Zm9v+YmFy/MTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3A="


def _every_letter(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


SPELLED = {
    "as it is": KEY,
    "in HTML": KEY.replace("+", "&#43;").replace("/", "&#x2F;").replace("=", "&equals;"),
    "in HTML twice": html.escape(KEY.replace("+", "&#43;").replace("/", "&#x2F;")),
    "every letter in HTML": "".join(f"&#{ord(letter)};" for letter in KEY),
    "in a URL": quote(KEY, safe=""),
    "in a URL twice": quote(quote(KEY, safe="")),
    "in a URL, then in HTML": html.escape(quote(KEY, safe="")).replace("%", "&percnt;"),
    "in JSON": KEY.replace("+", "\\u002b").replace("/", "\\/"),
    "in JSON twice": KEY.replace("+", "\\\\u002b"),
    "every letter in JSON": _every_letter(KEY),
    "in a script": KEY.replace("+", "\\x2b").replace("/", "%u002f"),
    "in capitals": KEY.upper(),
    "in small letters": KEY.lower(),
    "its beginning": KEY[:30],
    "its end": KEY[-20:],
    "wrapped": f"{KEY[:20]}\n  {KEY[20:]}",
}


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, plain(text).casefold()))


def _holds(text: str) -> bool:
    """Whether a dozen letters of the key stand in a text in a row."""
    said, key = _letters(text), _letters(KEY)
    return any(key[start : start + 12] in said for start in range(len(key) - 11))


def _strings(error: ProviderError) -> list[str]:
    return [str(error), error.words, error.loggable, error.param, error.label, *error.codes, *error.delays]


@pytest.mark.parametrize("spelling", SPELLED)
def test_no_error_tells_a_key_however_it_is_spelled(spelling: str) -> None:
    """Not in its words, its code nor its parameter, in JSON or in a web page."""
    said = f"denied for credential {SPELLED[spelling]} of this caller"
    assert _holds(said)
    fields = {"message": said, "code": SPELLED[spelling], "param": said}
    bodies = [json.dumps({"error": fields}), json.dumps({"detail": json.dumps({"error": fields})}), said]
    bodies.append(f"<html><head><title>{said}</title></head><body>{said}</body></html>")
    for body in bodies:
        error = read_error(403, body.encode(), secrets=(KEY,))
        assert "denied for credential" in error.words
        assert "of this caller" in error.words
        assert not any(_holds(text) for text in _strings(error))


@pytest.mark.parametrize("spelling", SPELLED)
def test_no_answer_tells_a_key_however_it_is_spelled(spelling: str) -> None:
    """What stands around it is left as it was, escapes and all."""
    answer = completion.answer_of(
        {"choices": [{"message": {"content": f"Tom &amp; Jerry: {SPELLED[spelling]} 100%25\n"}}]},
        secrets=[KEY],
    )
    assert answer
    assert not _holds(answer.text)
    assert answer.text.startswith(f"Tom &amp; Jerry: {SECRET}")
    assert answer.text.endswith(" 100%25\n")


@pytest.mark.parametrize("key", [f"AIza{'Sy0' * 11}", "pplx-0123456789abcdef", f"AKIA{'0A' * 8}", "ghp_0123456789ab"])
def test_a_key_that_nobody_told_us_is_known_by_how_it_begins(key: str) -> None:
    """It may be that of a gateway, for the provider behind it."""
    assert Redaction(()).line(f"the key {key} is not valid") == f"the key {SECRET} is not valid"


def test_words_that_are_escaped_without_end_are_given_up() -> None:
    """They cannot be searched."""
    error = read_error(403, f"denied {KEY[:9]}&{'amp;' * 30}#43;{KEY[9:18]}".encode(), secrets=(KEY,))
    assert error.words == "…"


def test_a_short_secret_is_cut_as_a_whole() -> None:
    """A part of it may be any word."""
    assert cut_secrets("the model ollama; TOK-EN12 34; token is wrong", ["token-1234"]) == (
        f"the model ollama; {SECRET}; token is wrong"
    )


def test_what_two_cuts_bring_together_is_no_key() -> None:
    """The two halves of a key around a cut are cut too."""
    document = "a quotation of the document that is long enough"
    body = f"denied {KEY[:14]} {document} {KEY[14:]}".encode()
    error = read_error(403, body, quoted=Quoted([document]), secrets=(KEY,))
    assert not any(_holds(text) for text in _strings(error))


def test_a_huge_text_with_a_secret_in_it_is_given_up() -> None:
    """One without is left as it is, also where it consists of half an escape."""
    huge = "\\" * 2**18
    assert cut_secrets(huge, [KEY]) == huge
    assert cut_secrets(huge + KEY.lower(), [KEY]) == SECRET
