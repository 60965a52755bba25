"""Hypothesis for `make mutants`, as a plugin of pytest: the first example that fails is enough, however large."""

from __future__ import annotations

import hypothesis

from tests.examples import examples

hypothesis.settings.register_profile(
    "unshrunk",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=examples(100),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile("unshrunk")
