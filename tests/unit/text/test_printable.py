"""Foreign text on a terminal, in a log and in JSON."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import docsluice_consumer.commands.service_commands as program
from docsluice.text.printable import harmless, harmless_json, printable, printable_lines
from docsluice_consumer.telemetry.logs import configure_logs
from docsluice_local.demo_lines import lines_of as demo_lines_of
from docsluice_local.demo_report import report
from docsluice_producer.dead_letters.listing import Rows
from docsluice_producer.dead_letters.showing import _lines as lines_of
from docsluice_producer.following.display import outcome_text
from docsluice_producer.following.tally import Tally
from docsluice_producer.following.text_files import json_text
from tests.fakes.dead_letters import letter
from tests.fakes.outcomes import dead_letter, result_outcome

ATTACKS = {
    "ESC": "\x1b[2J\x1b]0;owned\x07",
    "C1": "\x9b2J\x9d0;owned\x9c",
    "DEL": "\x7f",
    "override": "\u202egnp.exe\u202c",
    "isolate": "\u2066abc\u2069",
    "mark": "\u200e\u200f\u061c",
    "zero width": "a\u200bb\ufeff\u2060",
    "tag": "\U000e0041",
    "surrogate": "\ud800",
}
EVIL = "good " + " ".join(ATTACKS.values()) + " words"
TAKEN = EVIL.replace("\ud800", "")
"""What a record can hold: UTF-8 has no lone surrogates."""
FINE = "Tiếng Việt, עברית, می‌خواهم, 👩‍👩‍👧, ok"


def is_tame(text: str) -> bool:
    kinds = {unicodedata.category(one) for one in text if one not in "\n\t\u200c\u200d"}
    return not kinds & {"Cc", "Cf", "Cs"}


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    """Neither in one line nor in many; and what is left of it can be written."""
    for shown in (harmless(text), printable(text), *printable_lines(text)):
        assert is_tame(shown)
        shown.encode()
    assert "\n" not in printable(text)
    assert len(harmless(text)) == len(text)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_each_kind_is_seen(attack: str) -> None:
    """Each character has its replacement, so that it shows that there was something."""
    assert "\N{REPLACEMENT CHARACTER}" in printable(attack)


def test_scripts_and_emoji_stay_as_they_are() -> None:
    """Joiners are a part of words and of faces."""
    assert printable(FINE) == FINE
    assert harmless(" two  blanks\n\tindented") == " two  blanks\n\tindented"


@given(st.dictionaries(st.text(), st.text()))
def test_json_says_the_same_without_them(fields: dict[str, str]) -> None:
    """They are spelt as escapes."""
    written = harmless_json(json.dumps(fields, ensure_ascii=False))
    assert is_tame(written)
    assert json.loads(written) == fields


def test_json_on_a_terminal_is_tame() -> None:
    """`--json` prints where a person may look; a program reads the same as ever."""
    found = result_outcome(1, outputs={"summary": TAKEN})
    line = json_text(found.fields)
    assert is_tame(line)
    assert json.loads(line)["outputs"] == {"summary": TAKEN}


def test_follow_shows_no_control_character() -> None:
    """Neither of a result nor of a dead letter."""
    for found in (
        result_outcome(1, document_id=TAKEN, outputs={TAKEN: TAKEN}),
        dead_letter(1, errors={"reason": TAKEN, "step": TAKEN, "exception.message": TAKEN}),
    ):
        assert is_tame(outcome_text(found).plain)


def test_the_demo_shows_no_control_character() -> None:
    """In its live lines and in its report, and no markup of rich is obeyed in either."""
    tame = f"{TAKEN} [bold red]shout[/bold red]"
    outcomes = [
        result_outcome(1, document_id=tame, outputs={"topic": tame}),
        dead_letter(1, key=tame.encode(), errors={"reason": tame, "exception.message": tame}),
    ]
    for found in outcomes:
        lines = demo_lines_of(found, number=1, expected=30, width=400)
        assert all(is_tame(line.plain) for line in lines)
    file = io.StringIO()
    report(Console(file=file, width=400), outcomes, Tally(), model="m", results=program.__file__)  # type: ignore[arg-type]
    assert is_tame(file.getvalue())
    assert "[bold red]shout[/bold red]" in file.getvalue()


def test_dead_letters_show_no_control_character() -> None:
    """In the list and where one is shown in full, with its text, its answer and its headers."""
    value = json.dumps({"document_id": TAKEN, "text": TAKEN}).encode()
    words: dict[str, Any] = dict.fromkeys(
        ("reason", "step", "exception_message", "answer", "exception_stacktrace"), TAKEN
    )
    one = letter(value=value, own=[(TAKEN, TAKEN.encode())], **words)
    assert all(is_tame(line) for line in lines_of(one, "documents.dlq", bounded=False, with_trace=True))
    file = io.StringIO()
    Rows(out=Console(file=file, width=400), with_state=True).show(one)
    assert is_tame(file.getvalue())


def test_check_prints_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    """A server's words, and names from the broker, are foreign; the columns stay."""
    program._show("FAILED   provider: " + EVIL)
    said = capsys.readouterr().out
    assert is_tame(said)
    assert said.startswith("FAILED   provider: good ")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_log_line_holds_a_control_character(
    capsys: pytest.CaptureFixture[str], log_format: Literal["json", "console"]
) -> None:
    """Neither in a field, nor in a list, nor in a library's words, nor in an exception; and no line is forged."""
    configure_logs(log_format=log_format)
    fields: dict[str, Any] = {"text": f"{EVIL}\n2030-01-01 forged", "many": [EVIL], "nested": {EVIL: EVIL}}
    structlog.get_logger("docsluice_consumer.sample").warning("sample.event", **fields)
    logging.getLogger("library").warning("%s\nforged", EVIL)
    assert not [line for line in capsys.readouterr().err.splitlines() if "forged" in line[:40] or not is_tame(line)]
    try:
        dict[str, str]()[EVIL]
    except KeyError:
        structlog.get_logger("docsluice_consumer.sample").critical("sample.bug", exc_info=True)
    said = capsys.readouterr().err
    assert is_tame(said)
    assert "KeyError" in said
