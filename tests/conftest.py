"""Keeps a person's own settings out of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tests.required  # noqa: F401 - read before the environment is cleared


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("DOCSLUICE_", "OPENAI_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)  # and away from any .env
