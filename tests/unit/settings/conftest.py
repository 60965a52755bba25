"""What every setting needs."""

from __future__ import annotations

import pytest

from tests.fakes.environment import KEY


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
