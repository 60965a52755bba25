"""A model is known by its provider and its name there. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass

_CLOSE = 0.7

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


def problem_of_label(label: str, *, providers: Collection[str]) -> str | None:
    """Why a label most likely means none of the models it can mean, as a sentence. None when it is well.

    A name before the slash that is like no provider's is a vendor's. Without `providers` every label is well.
    """
    provider, _, name = label.partition("/")
    if not providers or (name and provider in {DEFAULT_PROVIDER, *providers}):
        return None
    if label.rstrip("/") in providers:
        return f"{label} names a provider and no model; write {label.rstrip('/')}/MODEL"
    close = difflib.get_close_matches(provider.lower(), sorted(providers), n=1, cutoff=_CLOSE) if name else []
    if not close:
        return None
    return (
        f"{provider}/… names no provider of this file ({', '.join(providers)}); did you mean {close[0]}/…? "
        f"(write {DEFAULT_PROVIDER}/{provider}/… for a model of this name at OPENAI_BASE_URL)"
    )
