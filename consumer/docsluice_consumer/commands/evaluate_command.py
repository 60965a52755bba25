"""The command `evaluate`: how good the answers are. Exit codes: 0 done, 1 below a minimum or a fault, 2 wrong usage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from docsluice.cli.output import CommandFailed, WrongArguments, say
from docsluice.cli.page import command
from docsluice.errors import ClientFault, WrongUsage
from docsluice.text.known_secrets import KnownSecrets
from docsluice.text.printable import counted, harmless, harmless_json
from docsluice_consumer.commands.command_settings import BAD_SETTINGS, EnvFile, settings_of_command
from docsluice_consumer.commands.pipeline_commands import COMPARED, Compared, pipeline_and_files
from docsluice_consumer.commands.setting_flags import takes_settings
from docsluice_consumer.commands.tables import print_table
from docsluice_consumer.errors import ServiceFault

if TYPE_CHECKING:
    from docsluice_consumer.evaluation.evaluation import VariantScore
    from docsluice_consumer.evaluation.examples import Example
    from docsluice_consumer.tasks.outputs import Output
    from docsluice_consumer.trial.trial import Ending
    from docsluice_consumer.trial.variants import Variant

_DONE, _FAILED = 0, 1


@Parameter(name="*", group=Group("The right answers", sort_key=1))
@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Where the right answers are.

    Attributes:
        expect: the field of a row with a task's right answer, as TASK=FIELD; once for each task
        id_field: the field with a document's id
        text_field: the field with its text
    """

    expect: Annotated[list[str], Parameter(metavar="TASK=FIELD")] = field(default_factory=list)
    id_field: Annotated[str, Parameter(metavar="FIELD")] = "document_id"
    text_field: Annotated[str, Parameter(metavar="FIELD")] = "text"


Against = Annotated[
    list[Path],
    Parameter(name="--against", metavar="PIPELINE", group=COMPARED, help="another pipeline file, to compare with"),
]


@Parameter(name="*", group=Group("What is told", sort_key=3))
@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an evaluation tells.

    Attributes:
        least: a measure or a task and the least that it may be, as accuracy=0.9; below it, the exit code is 1
        within: name the cheapest variant that is at most so many points below the best
        report: write a page with plots and every disagreement into this file
        as_json: print one JSON object
    """

    least: Annotated[list[str], Parameter(name="--min", metavar="NAME=SHARE")] = field(default_factory=list)
    within: Annotated[float, Parameter(metavar="POINTS")] = 2.0
    report: Annotated[Path | None, Parameter(metavar="FILE.html")] = None
    as_json: Annotated[bool, Parameter(name="--json")] = False


@takes_settings
def _evaluate(
    *paths: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=False)],
    labelled: Labelled = Labelled(),
    compared: Compared = Compared(),
    against: Against = [],  # noqa: B006 - never changed
    told: Told = Told(),
    env_file: EnvFile = None,
    **flags: str | None,
) -> int:
    """Tell how good the answers are, on documents whose right answers you know.

    $ docsluice evaluate pipeline.yaml labelled.jsonl --expect category=label
    $ docsluice evaluate pipeline.yaml labelled.csv --expect category=label --model gpt-4o-mini --model gpt-4.1
    $ docsluice evaluate pipeline.yaml labelled.jsonl --expect category=label --against before.yaml
    $ docsluice evaluate pipeline.yaml labelled.jsonl --expect category=label --report report.html
    $ docsluice evaluate pipeline.yaml labelled.jsonl --expect category=label --min accuracy=0.9

    A row is a document and its right answers. No broker is needed. What was answered is kept in the store, so that
    evaluating again after a change of one task asks that task alone.

    Args:
        paths: the pipeline file, if it is not that of the settings, and files of rows: .jsonl, .json, .csv, .parquet
    """
    pipeline, files = pipeline_and_files(paths)
    if not files:
        raise WrongArguments("name a file of documents with their right answers")
    if find_spec("scipy") is None:
        raise CommandFailed("evaluate needs scipy: pip install 'docsluice[evaluate]'", exit_code=BAD_SETTINGS)
    flags |= {} if pipeline is None else {"pipeline": pipeline}
    flags |= {"store_url": "memory://"} if compared.fresh else {}
    with settings_of_command(env_file, flags, is_quiet=True) as (settings, secrets):
        from docsluice_consumer.tasks.pipeline_file import load_pipeline_file  # noqa: PLC0415 - a page of help is quick
        from docsluice_consumer.trial.variants import variants_of  # noqa: PLC0415

        variants: list[Variant] = []
        for path in (settings.pipeline, *against):
            file = load_pipeline_file(path)
            found = variants_of(settings, file, models=compared.model, modes=compared.modes)
            variants += [replace(one, pipeline=str(path)) for one in found] if against else found
        return asyncio.run(_evaluated(variants, files, labelled, told, secrets))


evaluate = command(
    _evaluate,
    name="evaluate",
    exit_codes={
        _DONE: "evaluated",
        _FAILED: "below a --min, or a fault",
        BAD_SETTINGS: "bad settings or wrong usage",
    },
)


async def _evaluated(
    variants: Sequence[Variant],
    files: Sequence[str],
    labelled: Labelled,
    told: Told,
    secrets: KnownSecrets,
) -> int:
    from docsluice.documents.entries import ReadOptions  # noqa: PLC0415 - see above
    from docsluice_consumer.evaluation.evaluation import scores_of  # noqa: PLC0415
    from docsluice_consumer.evaluation.examples import examples_of, expectations_of  # noqa: PLC0415
    from docsluice_consumer.trial.trial import NoAnswers  # noqa: PLC0415

    options = ReadOptions(id_field=labelled.id_field, text_field=labelled.text_field, keeps_rows=True)
    try:
        file, *others = (variant.file for variant in variants)
        expectations = expectations_of(labelled.expect, file)
        for other in others:
            expectations_of(labelled.expect, other)  # it has these tasks too
        least = _minima(told.least, {task.name: task.output for task in file.tasks if task.name in expectations})
        _check_writable(told.report)
        examples = examples_of(files, file, expectations, options=options, tell=say)
        found = scores_of(variants, examples, [await _answered(one, examples, secrets) for one in variants])
    except (ClientFault, ServiceFault, NoAnswers) as problem:
        code = BAD_SETTINGS if isinstance(problem, WrongUsage) else _FAILED
        raise CommandFailed(secrets.cut(str(problem)), exit_code=code) from None
    shortfalls = _print(found, told, least)
    for line in shortfalls:
        say(line)
    return _FAILED if shortfalls else _DONE


async def _answered(variant: Variant, examples: Sequence[Example], secrets: KnownSecrets) -> list[Ending]:
    """How the examples end, with a bar of progress at a terminal."""
    from docsluice_consumer.evaluation.evaluation import answered  # noqa: PLC0415 - see above

    say(f"asking {variant.name} about {counted(len(examples), 'document')}")
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("documents,"), TimeRemainingColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        bar = progress.add_task("", total=len(examples))
        return await answered(variant, examples, secrets, ended=lambda: progress.advance(bar))


def _check_writable(path: Path | None) -> None:
    """Before anything is paid for.

    Raises:
        WrongUsage: it is not.
    """
    try:
        if path is not None:
            path.open("a").close()
    except OSError as error:
        raise WrongUsage(f"--report: {path}: {error.strerror or error}") from None


def _minima(given: Sequence[str], outputs: Mapping[str, Output]) -> dict[str, float]:
    """The least of each measure or task, from words such as `accuracy=0.9`. `outputs` are those of the judged tasks.

    Raises:
        WrongUsage: one is not of this form, or names neither.
    """
    from docsluice_consumer.evaluation.scoring import measures_of  # noqa: PLC0415 - see above

    known = [*outputs, *dict.fromkeys(name for output in outputs.values() for name in measures_of(output))]
    found: dict[str, float] = {}
    for word in given:
        name, _, share = word.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise WrongUsage(f"--min: {word} is not of the form NAME=SHARE, such as accuracy=0.9") from None
        if not 0 <= found[name] <= 1:
            raise WrongUsage(f"--min: {name}={share} is no share from 0 to 1")
        if name not in known:
            raise WrongUsage(f"--min: there is no measure {name}; there are {', '.join(known)}")
    return found


def _print(found: Sequence[VariantScore], told: Told, least: dict[str, float]) -> list[str]:
    """Print the evaluation, and write its page. Returns what is below a minimum."""
    from docsluice_consumer.evaluation import report  # noqa: PLC0415 - see above
    from docsluice_consumer.evaluation.evaluation import cheapest_of, differences_of  # noqa: PLC0415
    from docsluice_consumer.evaluation.page import page_of  # noqa: PLC0415

    within = told.within / 100
    differences, cheapest = differences_of(found), cheapest_of(found, within=within)
    if told.report is not None:
        told.report.write_text(page_of(found, differences, cheapest, within=within), encoding="utf-8")
        say(f"wrote {told.report}")
    shortfalls = list(report.shortfalls(found, least))
    if told.as_json:
        fields = {
            "variants": [report.fields_of_variant(one) for one in found],
            "differences": [report.fields_of_difference(one) for one in differences],
            "cheapest": cheapest.name,
            "below_minimum": shortfalls,
        }
        print(harmless_json(json.dumps(fields, ensure_ascii=False)))  # noqa: T201 - it is for a program
        return shortfalls
    print_table(report.table_of(found))
    for line in report.remarks_on(found, differences, cheapest, within=within):
        print(harmless(line))  # noqa: T201 - it is what was asked for
    return shortfalls
