"""An environment with what every consumer needs."""

from __future__ import annotations

from typing import Any

import pytest

from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.settings import load_settings

KEY = "sk-verysecret"
PASSWORD = "hunter2-secret"


def problems_of(overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(overrides)
    assert caught.value.__cause__ is None, "its cause would quote the value"
    assert not any("\n" in problem for problem in caught.value.problems)
    return caught.value.problems
