"""A model is known by its provider and its name there. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

DEFAULT_PROVIDER = "default"
"""The provider that OPENAI_BASE_URL and OPENAI_API_KEY name."""


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """A model at a provider: limits, queues, circuits, prices and all that is learned hang on the pair.

    Two providers may offer models of the same name. `str()` gives the label that people write and read:
    `provider/name`, or the bare name at the default provider.
    """

    provider: str
    name: str

    def __str__(self) -> str:
        return self.name if self.provider == DEFAULT_PROVIDER else f"{self.provider}/{self.name}"


def model_ref(label: str, *, providers: Collection[str] = ()) -> ModelRef:
    """Read a label. Only a provider that is among `providers` counts: `meta-llama/Llama-3` is a bare name."""
    provider, slash, name = label.partition("/")
    if slash and name and provider in {DEFAULT_PROVIDER, *providers}:
        return ModelRef(provider, name)
    return ModelRef(DEFAULT_PROVIDER, label)
