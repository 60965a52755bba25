"""What a trial compares: the pipeline as it is, or with other models and in other modes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, product
from typing import Literal, cast

from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.settings import Settings
from docsluice_consumer.tasks.output_entry import OutputEntry
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.tasks.step_building import steps_of
from docsluice_consumer.tasks.steps import Step

_MODES = ("fanout", "fused")
_UNBOUNDED = {
    "budget_usd_per_hour": None,  # a ledger has one owner, which may be the service beside us
    "budget_usd_per_day": None,
    "dead_letter_max_ratio": 1.0,  # each document is shown, however it ends
    "dead_letter_max_consecutive": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to run the pipeline. `models` are the models that it asks, first choices first.

    `pipeline` is the name of its file, where several files are compared.
    """

    models: Sequence[str]
    mode: Literal["fanout", "fused"]
    settings: Settings
    file: PipelineFile
    pipeline: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """What tells it from others: the pipeline's file, the models and the mode."""
        return self.pipeline, " and ".join(self.models), self.mode

    @property
    def name(self) -> str:
        """A name for people."""
        return ", ".join(filter(None, self.parts))


def names_of(variants: Sequence[Variant]) -> list[str]:
    """A name for each, of what is not the same in all of them."""
    columns = zip(*(variant.parts for variant in variants), strict=True)
    differing = [len(set(column)) > 1 for column in columns]
    short = [", ".join(compress(variant.parts, differing)) for variant in variants]
    return short if all(short) else [variant.name for variant in variants]


def variants_of(
    settings: Settings, file: PipelineFile, *, models: Sequence[str], modes: Sequence[str]
) -> list[Variant]:
    """Every model in every mode. A model that is named here is asked in place of those of all tasks.

    Raises:
        ConfigurationError: there is no such mode.
    """
    if unknown := [mode for mode in modes if mode not in _MODES]:
        raise ConfigurationError([f"--mode: {unknown[0]} is none; there are {' and '.join(_MODES)}"])
    own = settings.mode or file.mode
    return [_variant(settings, file, model, mode) for model, mode in product(models or (None,), modes or (own,))]


def steps_in(variant: Variant) -> tuple[Step, ...]:
    """The steps of a variant.

    Raises:
        ConfigurationError: the tasks cannot share one call.
    """
    settings = variant.settings
    return steps_of(
        variant.file,
        mode=variant.mode,
        default_model=settings.model,
        default_url=settings.openai_base_url or "",
    )


def _variant(settings: Settings, file: PipelineFile, model: str | None, mode: str) -> Variant:
    changed = {"mode": mode, **_UNBOUNDED}
    if model is not None:
        changed["model"] = model
        file = file.model_copy(update={"tasks": [task.model_copy(update={"model": None}) for task in file.tasks]})
    settings = settings.model_copy(update=changed)
    return Variant(
        models=tuple(dict.fromkeys(_first_choices(settings, file))),
        mode=cast("Literal['fanout', 'fused']", mode),
        settings=settings,
        # A result is shown, not published: in the form that has everything.
        file=file.model_copy(update={"output": OutputEntry()}),
    )


def _first_choices(settings: Settings, file: PipelineFile) -> Iterator[str]:
    for task in file.tasks:
        yield (task.models or (settings.model,))[0]
