"""The commands about a pipeline file before it runs. Exit codes: 0 done, 1 a document failed or a fault, 2 wrong usage.

The service is imported when it is asked for, as in `service_commands.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from docsluice.cli.output import CommandFailed, WrongArguments, say
from docsluice.cli.page import command
from docsluice.errors import ClientFault, WrongUsage
from docsluice.text.known_secrets import KnownSecrets
from docsluice.text.printable import counted, harmless_json
from docsluice_consumer.commands.command_settings import BAD_SETTINGS, EnvFile, settings_of_command
from docsluice_consumer.commands.setting_flags import takes_settings
from docsluice_consumer.commands.tables import print_table
from docsluice_consumer.errors import ServiceFault
from docsluice_consumer.settings import Settings

if TYPE_CHECKING:
    from docsluice_consumer.kafka.records import Record
    from docsluice_consumer.tasks.pipeline_file import PipelineFile
    from docsluice_consumer.trial.trial import Ending
    from docsluice_consumer.trial.variants import Variant

_DONE, _FAILED = 0, 1
_LOOK_SECONDS = 0.3
_YAML = frozenset({".yaml", ".yml"})
COMPARED, _SHOWN = Group("What is compared", sort_key=2), Group("What is shown", sort_key=3)


@Parameter(name="*", group=Group("The documents", sort_key=1))
@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Where the documents of a trial come from.

    Attributes:
        text: a document, in place of files
        topic: the newest records of this topic, in place of files
        n: at most so many documents
    """

    text: Annotated[str | None, Parameter(metavar="TEXT")] = None
    topic: Annotated[str | None, Parameter(metavar="NAME")] = None
    n: Annotated[int, Parameter(name=("--n", "-n"), metavar="N")] = 5

    def check(self, files: Sequence[str]) -> None:
        """Raise `WrongArguments` unless there is one place to take them from."""
        if sum((bool(files), self.text is not None, self.topic is not None)) != 1:
            raise WrongArguments("name files, or --text, or --topic: one of the three")
        if self.n < 1:
            raise WrongArguments(f"-n: {self.n} is no number of documents")


@Parameter(name="*", group=COMPARED)
@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The variants of a trial.

    Attributes:
        model: ask this model in place of those of the tasks; once for each model to compare
        mode: fanout asks each task by itself, fused all in one call; both, with a comma, to compare
        fresh: ask again what the store knows, and keep nothing
    """

    model: Annotated[list[str], Parameter(metavar="NAME")] = field(default_factory=list)
    mode: Annotated[str | None, Parameter(metavar="fanout|fused")] = None
    fresh: bool = False

    @property
    def modes(self) -> list[str]:
        """The modes by name. Empty for the pipeline's own."""
        return [name.strip() for name in self.mode.split(",")] if self.mode else []


@Parameter(name="*", group=_SHOWN)
@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a trial prints.

    Attributes:
        whole: print long prompts and answers to their end
        as_json: print a JSON object a line, one for each document and variant, with all calls
        watch: begin again whenever the pipeline file is saved
    """

    whole: bool = False
    as_json: Annotated[bool, Parameter(name="--json")] = False
    watch: bool = False


@takes_settings
def _try(
    *paths: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=False)],
    documents: Documents = Documents(),
    compared: Compared = Compared(),
    shown: Shown = Shown(),
    env_file: EnvFile = None,
    **flags: str | None,
) -> int:
    """Put a few documents to the model, and see the prompts, the answers and what they cost.

    $ docsluice try pipeline.yaml letter.txt
    $ docsluice try pipeline.yaml --text "Invoice 17 is due."
    $ docsluice try pipeline.yaml mails/ --model gpt-4o-mini --model gpt-4.1 --mode fanout,fused
    $ docsluice try pipeline.yaml --topic tickets -n 3 --json
    $ docsluice try pipeline.yaml letter.txt --watch

    No broker is needed but for --topic, and nothing is published. The documents take the service's own path, with its
    settings. What was answered is kept in the store, so that neither a second try nor the service pays for it again.

    Args:
        paths: the pipeline file, if it is not that of the settings, and the files to read: any that `send` reads
    """
    pipeline, files = pipeline_and_files(paths)
    documents.check(files)
    flags |= {} if pipeline is None else {"pipeline": pipeline}
    flags |= {"store_url": "memory://"} if compared.fresh else {}
    with settings_of_command(env_file, flags, is_quiet=True) as (settings, secrets):
        from docsluice_consumer.tasks.pipeline_file import load_pipeline_file  # noqa: PLC0415 - see above
        from docsluice_consumer.trial.variants import variants_of  # noqa: PLC0415

        def once() -> int:
            file = load_pipeline_file(settings.pipeline)
            variants = variants_of(settings, file, models=compared.model, modes=compared.modes)
            return asyncio.run(_tried(variants, files, documents, shown, file, secrets))

        if not shown.watch:
            return once()
        if settings.pipeline is None:
            raise WrongArguments("--watch needs a pipeline file to watch")
        return _watched(settings.pipeline, once)


try_ = command(
    _try,
    name="try",
    exit_codes={
        _DONE: "every document got a result",
        _FAILED: "one became a dead letter, or the provider does not answer",
        BAD_SETTINGS: "bad settings or wrong usage",
    },
)


@takes_settings
def _explain(
    pipeline: Annotated[Path | None, Parameter(name="PIPELINE")] = None,
    /,
    *,
    since: Annotated[Path | None, Parameter(metavar="PIPELINE", group=COMPARED)] = None,
    whole: Annotated[bool, Parameter(group=_SHOWN)] = False,
    env_file: EnvFile = None,
    **flags: str | None,
) -> int:
    """Show what a pipeline file makes of its tasks: the calls, the prompts and the schemas.

    $ docsluice explain pipeline.yaml
    $ docsluice explain pipeline.yaml --mode fused
    $ git show HEAD:pipeline.yaml > before.yaml && docsluice explain pipeline.yaml --since before.yaml

    Nothing is asked and nothing is connected to.

    Args:
        pipeline: the pipeline file, if it is not that of the settings
        since: an older file: say which of its answers are still good
        whole: print long prompts and schemas to their end
    """
    flags |= {} if pipeline is None else {"pipeline": str(pipeline)}
    with settings_of_command(env_file, flags, is_quiet=True) as (settings, _):
        from docsluice_consumer.bootstrap import prices_of  # noqa: PLC0415 - see above
        from docsluice_consumer.tasks.pipeline_file import load_pipeline_file  # noqa: PLC0415
        from docsluice_consumer.trial.explanation import change_of, explanation_of  # noqa: PLC0415
        from docsluice_consumer.trial.variants import steps_in, variants_of  # noqa: PLC0415

        (variant,) = variants_of(settings, load_pipeline_file(settings.pipeline), models=(), modes=())
        steps = steps_in(variant)
        if since is not None:
            (before,) = variants_of(settings, load_pipeline_file(since), models=(), modes=())
            lines = change_of(steps_in(before), steps)
        else:
            width = shutil.get_terminal_size().columns
            lines = explanation_of(variant, steps, prices_of(settings, variant.file), width=width, whole=whole)
        for line in lines:
            print(line)  # noqa: T201 - it is what was asked for
    return _DONE


def _init(
    template: Annotated[Literal["tickets", "invoices", "reviews", "articles"], Parameter(name="TEMPLATE")] = "articles",
    /,
    *,
    into: Annotated[Path, Parameter(metavar="FOLDER")] = Path(),
    local: bool = False,
) -> int:
    """Write a pipeline file to begin with, documents to try it on, and settings.

    $ docsluice init tickets --into support
    $ docsluice init reviews --local && (docsluice model &) && docsluice try documents.jsonl

    Nothing is overwritten. The pipeline file is commented, and names its JSON Schema for your editor.

    Args:
        template: what the documents are
        into: the folder, made if it is missing [default: this one]
        local: settings for the small model of `docsluice model`, ready in .env, in place of those for OpenAI in
            .env.example
    """
    from docsluice_consumer.templates.project import project_files, write_project  # noqa: PLC0415 - see above

    project = project_files(template, is_local=local)
    try:
        write_project(into, project)
    except WrongUsage as problem:
        raise CommandFailed(str(problem), exit_code=BAD_SETTINGS) from None
    print(f"wrote {', '.join(project)}")  # noqa: T201 - it is what was asked for
    steps = [] if into == Path() else [f"cd {shlex.quote(str(into))}"]
    steps += ["docsluice model &"] if local else ["cp .env.example .env    # and put your key into it"]
    for step in (*steps, "docsluice try documents.jsonl"):
        print(f"  {step}")  # noqa: T201
    return _DONE


init = command(
    _init, name="init", exit_codes={_DONE: "written", BAD_SETTINGS: "a file is there already, or wrong usage"}
)


explain = command(_explain, name="explain", exit_codes={_DONE: "shown", BAD_SETTINGS: "bad settings or wrong usage"})


def pipeline_and_files(paths: Sequence[str]) -> tuple[str | None, list[str]]:
    """The pipeline file, if the first path is one, and the others."""
    if paths and Path(paths[0]).suffix.lower() in _YAML:
        return paths[0], list(paths[1:])
    return None, list(paths)


async def _tried(
    variants: Sequence[Variant],
    files: Sequence[str],
    documents: Documents,
    shown: Shown,
    file: PipelineFile,
    secrets: KnownSecrets,
) -> int:
    from docsluice_consumer.trial.trial import NoAnswers, try_records  # noqa: PLC0415 - see above

    try:
        records = await _records(files, documents, file, variants[0].settings)
        found: list[list[Ending]] = []
        for variant in variants:
            say(f"asking {variant.name} about {counted(len(records), 'document')}")
            found.append(await try_records(records, variant.settings, variant.file, secrets))
    except (ClientFault, ServiceFault, NoAnswers) as problem:
        code = BAD_SETTINGS if isinstance(problem, WrongUsage) else _FAILED
        raise CommandFailed(secrets.cut(str(problem)), exit_code=code) from None
    _print(variants, found, shown)
    return _FAILED if any(one.reason for endings in found for one in endings) else _DONE


async def _records(
    files: Sequence[str], documents: Documents, file: PipelineFile, settings: Settings
) -> Sequence[Record]:
    from docsluice.kafka.broker import broker_of  # noqa: PLC0415 - see above
    from docsluice_consumer.trial.records import (  # noqa: PLC0415
        record_of_text,
        records_of_files,
        records_of_topic,
    )

    if documents.text is not None:
        return [record_of_text(documents.text)]
    if documents.topic is not None:
        return await records_of_topic(broker_of(settings), documents.topic, count=documents.n)
    return records_of_files(files, file, count=documents.n, tell=say)


def _print(variants: Sequence[Variant], found: Sequence[Sequence[Ending]], shown: Shown) -> None:
    from docsluice_consumer.trial import report  # noqa: PLC0415 - see above

    if shown.as_json:
        for variant, endings in zip(variants, found, strict=True):
            for ending in endings:
                fields = json.dumps(report.fields_of(variant, ending), ensure_ascii=False)
                print(harmless_json(fields))  # noqa: T201 - it is for a program
        return
    width = shutil.get_terminal_size().columns
    if len(variants) == 1:
        for line in report.lines_of(found[0], width=width, whole=shown.whole):
            print(line)  # noqa: T201 - it is what was asked for
    else:
        for endings in zip(*found, strict=True):
            print_table(report.table_of(variants, endings), title=endings[0].document_id)
    for variant, endings in zip(variants, found, strict=True):
        print(report.total_of(variant, endings))  # noqa: T201


def _watched(path: Path, once: Callable[[], int]) -> int:
    """Try, and try again whenever the file is saved, until Ctrl-C. What is wrong with the file is said, and waited for.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    from docsluice_consumer.errors import ConfigurationError  # noqa: PLC0415 - see above

    while True:
        seen = _state(path)
        try:
            once()
        except ConfigurationError as error:
            for problem in error.problems:
                say(problem)
        except CommandFailed as failure:
            for line in failure.lines:
                say(line)
        say(f"waiting for {path} to be saved; Ctrl-C ends it")
        sys.stdout.flush()
        while _state(path) == seen:
            time.sleep(_LOOK_SECONDS)


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when the file is saved. None while it is away, as in the middle of an editor's saving."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    return None
