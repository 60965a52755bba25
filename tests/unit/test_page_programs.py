"""The pages about the library hold the programs that the tests run, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import docsluice
import docsluice.testing
from docsluice.client.connection import Connection

ROOT = Path(__file__).parents[2]
PROGRAMS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests/pages").iterdir()) if path.is_file()]
PAGES = [
    "docs/how-to/produce-from-python.md",
    "docs/how-to/subscribe-from-python.md",
    "docs/how-to/results-in-a-data-frame.md",
    "docs/how-to/test-your-pipeline.md",
]
REFERENCE = "docs/reference/library.md"


def _code(page: str) -> list[str]:
    return re.findall(
        r"^```(?:python|yaml)\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.mark.parametrize("page", PAGES)
def test_each_program_of_a_page_is_run_by_a_test(page: str) -> None:
    """Each part between blank lines is in a file of tests/pages."""
    blocks = _code(page)
    assert blocks
    for block in blocks:
        for part in re.split(r"\n{2,}", block.strip()):
            assert any(part in program for program in PROGRAMS), part


@pytest.mark.parametrize("room", [docsluice, docsluice.testing])
def test_the_reference_names_all_there_is(room: object) -> None:
    """Every public name, and every argument that reaches the broker."""
    text = (ROOT / REFERENCE).read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)[(`]", text))
    assert set(room.__all__) <= named  # type: ignore[attr-defined]
    assert set(Connection.__annotations__) <= named
