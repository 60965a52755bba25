"""What `send` prints at the end."""

from __future__ import annotations

import pytest

from docsluice.documents.entries import ReadOptions
from docsluice.documents.sources import Selection
from docsluice_producer.sending import send
from docsluice_producer.sending.report import Report


@pytest.mark.parametrize(
    ("sent", "seconds", "line"),
    [
        (2, 0.01, "sent 2 documents to t in 0.0 s"),
        (0, 30.0, "sent 0 documents to t in 30.0 s"),
        (5_000, 2.0, "sent 5,000 documents to t in 2.0 s (2,500 documents a second)"),
    ],
)
def test_a_rate_wants_a_second(sent: int, seconds: float, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two documents in a hundredth of a second are no 200 a second."""
    report = Report(total_bytes=None)
    report.read = sent
    sending = send.Sending(selection=Selection(), options=ReadOptions(), topic="t")
    send._print_summary(sending, report, sent=sent, seconds=seconds)
    assert capsys.readouterr().out == line + "\n"
