"""One way to log, and not too much of it."""

from __future__ import annotations

import io
import json
import logging
from typing import Any, Literal

import pytest
import structlog

from docsluice_consumer.telemetry.logs import Throttle, configure_logs


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == "", "standard output is for results"
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_is_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    """A dotted event, its level and time, and its fields, one object a line on standard error."""
    configure_logs(log_format="json")
    structlog.get_logger("docsluice_consumer.sample").warning("sample.event", count=3, text="two\nlines é")
    (line,) = _lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "sample.event", "level": "warning", "count": 3, "text": "two\nlines é"}


def test_libraries_are_heard_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    """In the same format, and aiokafka not at all: it repeats a broker's absence several times a second."""
    configure_logs(log_format="json", level="DEBUG")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble with %s", "it")
    logging.getLogger("aiokafka.conn").error("no broker")
    structlog.get_logger("docsluice_consumer.sample").debug("sample.detail")
    assert [(line["event"], line["level"]) for line in _lines(capsys)] == [
        ("trouble with it", "warning"),
        ("sample.detail", "debug"),
    ]


def test_the_level_is_ours_to_choose(capsys: pytest.CaptureFixture[str]) -> None:
    """Below it nothing is said."""
    configure_logs(log_format="json", level="ERROR")
    structlog.get_logger("docsluice_consumer.quiet").warning("sample.warning")
    structlog.get_logger("docsluice_consumer.quiet").error("sample.error")
    assert [line["event"] for line in _lines(capsys)] == ["sample.error"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_stack_trace_is_in_its_line(
    capsys: pytest.CaptureFixture[str], log_format: Literal["json", "console"]
) -> None:
    """A bug is told with where it happened, and without a complaint about how it is told."""
    configure_logs(log_format=log_format)
    try:
        json.loads("{")
    except ValueError:
        structlog.get_logger("docsluice_consumer.sample").critical("sample.bug", exc_info=True)
    said = capsys.readouterr().err
    assert "sample.bug" in said
    assert "JSONDecodeError" in said
    assert "test_logs.py" in said
    assert (said.count("\n") == 1) == (log_format == "json")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "is_coloured"),
    [
        (_Terminal, {}, True),
        (_Terminal, {"NO_COLOR": ""}, True),
        (_Terminal, {"NO_COLOR": "1"}, False),
        (_Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], variables: dict[str, str], *, is_coloured: bool
) -> None:
    """Never in a file, and not where NO_COLOR forbids them. Nothing else in the line changes."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stderr = stream()
    monkeypatch.setattr("sys.stderr", stderr)
    configure_logs(log_format="console")
    try:
        json.loads("{")
    except ValueError:
        structlog.get_logger("docsluice_consumer.sample").critical("sample.bug", exc_info=True, place="here")
    said = stderr.getvalue()
    assert ("\x1b" in said) is is_coloured
    assert "sample.bug" in said


def test_a_complaint_is_heard_once_in_a_while() -> None:
    """Each kind for itself. Those in between are counted."""
    throttle = Throttle(seconds=float("inf"))
    assert throttle.silenced("timeout") == 0
    assert throttle.silenced("timeout") is None
    assert throttle.silenced("timeout") is None
    assert throttle.silenced("unavailable") == 0


def test_what_was_kept_quiet_is_told_with_the_next() -> None:
    """Once, and then the count begins again."""
    throttle = Throttle(seconds=float("inf"))
    throttle.silenced("timeout")
    for _ in range(3):
        throttle.silenced("timeout")
    throttle._last["timeout"] = float("-inf")  # as if it had been long ago
    assert throttle.silenced("timeout") == 3
    throttle._last["timeout"] = float("-inf")
    assert throttle.silenced("timeout") == 0
