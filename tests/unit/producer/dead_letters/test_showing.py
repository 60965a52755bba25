"""`dead-letters show`: what a person sees of one."""

from __future__ import annotations

from typing import Any

from docsluice_producer.dead_letters.showing import _lines
from tests.fakes.dead_letters import fetched, letter


def _shown(**changed: Any) -> list[str]:
    return list(_lines(letter(fetched(**changed)), "documents.dlq", bounded=True, with_trace=False))


def test_the_rejected_answer_has_a_part_of_its_own() -> None:
    """Line by line, with nothing in it that moves the cursor, and not once more among the headers."""
    lines = _shown(answer='{"summary":\n  "te\x1b[31m')
    begin = lines.index("rejected answer (22 characters)")
    assert lines[begin + 1 : begin + 4] == ['  {"summary":', '    "te�[31m', ""]
    assert lines[begin + 4] == "headers"
    assert sum("summary" in line and "te" in line and "{" in line for line in lines) == 0
    assert not any("errors.answer" in line for line in lines)


def test_without_a_rejected_answer_nothing_is_said_of_it() -> None:
    """A document that the model refused to read, say."""
    assert not any("answer" in line for line in _shown(exception_message="no", reason="too_large"))
