"""YAML files that people write."""

from __future__ import annotations

from pathlib import Path

import pytest

from docsluice_consumer.llm.yaml_file import load_yaml

LINES = """\
name: tickets
mode: fused
tasks:
  - name: mood
    output:
      type: text
  - prompt: Which?
    name: kind
"""


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ((), "p.yaml"),
        (("mode",), "p.yaml:2:1"),
        (("tasks", "mood", "output", "type"), "p.yaml:6:7"),
        (("tasks", "mood", "prompt"), "p.yaml:4:5"),
        (("tasks", "kind"), "p.yaml:7:5"),
        (("tasks", "1", "name"), "p.yaml:8:5"),
        (("nowhere", "at", "all"), "p.yaml"),
    ],
)
def test_a_place_has_a_line(tmp_path: Path, place: tuple[str, ...], where: str) -> None:
    """That of the last part of the way that is there: what is missing is missing from that."""
    path = tmp_path / "p.yaml"
    path.write_text(LINES, encoding="utf-8")
    assert load_yaml(path, name="p.yaml", variable="DOCSLUICE_PIPELINE").where(place) == where


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    """Nor has it a place."""
    path = tmp_path / "p.yaml"
    path.write_text("", encoding="utf-8")
    assert load_yaml(path, name="p.yaml", variable="DOCSLUICE_PIPELINE").where(("tasks",)) == "p.yaml"
