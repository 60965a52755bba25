"""Where `follow` shows what limits the consumers."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from docsluice_producer.following.status_line import StatusLine
from docsluice_producer.metrics.finding import Finding
from tests.fakes.screen import screen

LONG = "x" * 25 + " " + "y" * 25
"""More than one line of the terminal below."""


def standing(*, terminal: bool) -> tuple[StatusLine, io.StringIO]:
    written = io.StringIO()
    status, narrow = (
        Console(file=written, force_terminal=terminal, soft_wrap=soft_wrap, width=30, _environ={"TERM": "xterm"})
        for soft_wrap in (True, False)
    )
    return StatusLine(status=status, screen=narrow), written


def found(sentence: str, cause: str = "c") -> Finding:
    return Finding(cause=(cause,), sentence=sentence)


@pytest.mark.parametrize("sentence", ["limited", LONG])
def test_the_line_stays_below_what_is_printed(sentence: str) -> None:
    """On a terminal the newest sentence stands last, once, under every line that was printed meanwhile."""
    status_line, written = standing(terminal=True)
    with status_line.standing():
        status_line.say("before")
        status_line.show(found(LONG))
        status_line.say("one")
        with status_line.aside():
            written.write("two\nthree\n")
        status_line.show(found("short"))
        status_line.show(found(sentence))
        assert screen(written.getvalue()) == ["before", "one", "two", "three", *sentence.split()]
    assert screen(written.getvalue()) == ["before", "one", "two", "three"]


def test_nothing_stands_where_nothing_is_shown() -> None:
    """Without metrics, what is printed is all that is written."""
    status_line, written = standing(terminal=True)
    with status_line.standing():
        status_line.say("one")
    assert written.getvalue() == "one\n"


def test_a_file_has_a_line_for_each_change() -> None:
    """Where there is no terminal, a sentence is a line when the cause is another one, however long."""
    status_line, written = standing(terminal=False)
    with status_line.standing():
        for sentence, cause in ((LONG, "a"), ("a again", "a"), ("b", "b"), ("a once more", "a")):
            status_line.show(found(sentence, cause))
    assert written.getvalue().splitlines() == [LONG, "b", "a once more"]


def test_the_line_is_gone_after_an_error() -> None:
    """An error in the middle leaves no line behind, nor a terminal without a cursor."""
    status_line, written = standing(terminal=True)

    def fail() -> None:
        with status_line.standing():
            status_line.show(found("limited"))
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert screen(written.getvalue()) == []
    assert written.getvalue().rindex("\x1b[?25h") > written.getvalue().rindex("\x1b[?25l")
