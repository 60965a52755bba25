"""Keeps a person's own settings out of the tests, and the clock out of those that hypothesis draws."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

import tests.required  # noqa: F401 - read before the environment is cleared

# Nothing is asserted about time, not even that an example takes less than 200 ms.
hypothesis.settings.register_profile("docsluice", deadline=None)
hypothesis.settings.load_profile("docsluice")


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("DOCSLUICE_", "OPENAI_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)  # and away from any .env
