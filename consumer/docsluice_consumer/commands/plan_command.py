"""The command `plan`: what all documents will take, before they are sent. Exit codes as of `pipeline_commands`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from docsluice.cli.output import CommandFailed, WrongArguments, say
from docsluice.cli.page import command
from docsluice.errors import ClientFault, WrongUsage
from docsluice.text.known_secrets import KnownSecrets
from docsluice.text.printable import counted, harmless
from docsluice_consumer.commands.command_settings import BAD_SETTINGS, EnvFile, settings_of_command
from docsluice_consumer.commands.pipeline_commands import Compared, pipeline_and_files
from docsluice_consumer.commands.setting_flags import takes_settings
from docsluice_consumer.commands.tables import print_table
from docsluice_consumer.errors import ServiceFault
from docsluice_consumer.settings import Settings

if TYPE_CHECKING:
    from docsluice_consumer.tasks.pipeline_file import PipelineFile
    from docsluice_consumer.trial.planning import Plan, Survey
    from docsluice_consumer.trial.variants import Variant

_DONE, _FAILED = 0, 1
_TAIL_RECORDS = 500
_SECONDS = 30.0
_NUMBER = Parameter(metavar="N", validator=Number(gte=1))


@Parameter(name="*", group=Group("The documents", sort_key=1))
@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Which documents are planned for, and how many are asked.

    Attributes:
        topic: the records of this topic, in place of files; their number and the newest of them tell the rest
        live: really ask a sample, and pay for it
        sample: documents in the sample
        seed: another number draws another sample
        as_json: print a JSON object a line, one for each model and mode
    """

    topic: Annotated[str | None, Parameter(metavar="NAME")] = None
    live: bool = False
    sample: Annotated[int, _NUMBER] = 20
    seed: Annotated[int, Parameter(metavar="N")] = 0
    as_json: Annotated[bool, Parameter(name="--json")] = False


@takes_settings
def _plan(
    *paths: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=False)],
    sampled: Sampled = Sampled(),
    compared: Compared = Compared(),
    env_file: EnvFile = None,
    **flags: str | None,
) -> int:
    """Tell what all documents will take: calls, tokens, dollars and hours at your limits.

    $ docsluice plan pipeline.yaml texts/
    $ docsluice plan pipeline.yaml texts/ --live --sample 50
    $ docsluice plan pipeline.yaml texts/ --live --model gpt-4o-mini --model gpt-4.1 --mode fanout,fused
    $ docsluice plan pipeline.yaml --topic tickets --live

    Without --live nothing is asked: the tokens that go in are counted roughly, and those of the answers are unknown.
    With it, a sample is asked as `try` would. Each sum then has an interval that holds the truth nine times of ten.
    What the sample is answered is kept in the store.

    Args:
        paths: the pipeline file, if it is not that of the settings, and all files that are to be sent
    """
    pipeline, files = pipeline_and_files(paths)
    if bool(files) == (sampled.topic is not None):
        raise WrongArguments("name files, or --topic: one of the two")
    flags |= {} if pipeline is None else {"pipeline": pipeline}
    flags |= {"store_url": "memory://"} if compared.fresh else {}
    with settings_of_command(env_file, flags, is_quiet=True) as (settings, secrets):
        from docsluice_consumer.tasks.pipeline_file import load_pipeline_file  # noqa: PLC0415 - a page of help is quick
        from docsluice_consumer.trial.variants import variants_of  # noqa: PLC0415

        file = load_pipeline_file(settings.pipeline)
        variants = variants_of(settings, file, models=compared.model, modes=compared.modes)
        return asyncio.run(_planned(variants, files, sampled, file, settings, secrets))


plan = command(
    _plan,
    name="plan",
    exit_codes={_DONE: "planned", _FAILED: "a fault", BAD_SETTINGS: "bad settings or wrong usage"},
)


async def _planned(
    variants: Sequence[Variant],
    files: Sequence[str],
    sampled: Sampled,
    file: PipelineFile,
    settings: Settings,
    secrets: KnownSecrets,
) -> int:
    from docsluice_consumer.trial.planning import live_plan, rough_plan  # noqa: PLC0415 - see above
    from docsluice_consumer.trial.trial import NoAnswers  # noqa: PLC0415

    try:
        found = await _survey(files, sampled, file, settings)
        if not found.documents:
            raise WrongUsage("there are no documents in it")
        plans: list[Plan] = []
        for variant in variants:
            if sampled.live:
                say(f"asking {variant.name} about {counted(len(found.sample), 'document')}")
                plans.append(await live_plan(variant, found, secrets))
            else:
                plans.append(rough_plan(variant, found))
    except (ClientFault, ServiceFault, NoAnswers) as problem:
        code = BAD_SETTINGS if isinstance(problem, WrongUsage) else _FAILED
        raise CommandFailed(secrets.cut(str(problem)), exit_code=code) from None
    _print(found, plans, sampled)
    return _DONE


async def _survey(files: Sequence[str], sampled: Sampled, file: PipelineFile, settings: Settings) -> Survey:
    from docsluice.kafka.broker import broker_of  # noqa: PLC0415 - see above
    from docsluice_consumer.bootstrap import reader_of  # noqa: PLC0415
    from docsluice_consumer.kafka.last_records import tail_of  # noqa: PLC0415
    from docsluice_consumer.trial.planning import survey  # noqa: PLC0415
    from docsluice_consumer.trial.records import all_records  # noqa: PLC0415

    reader, size, seed = reader_of(settings, file), sampled.sample, sampled.seed
    if sampled.topic is None:
        return survey(all_records(files, file, tell=say), reader, sample=size, seed=seed)
    count = max(_TAIL_RECORDS, size)
    tail = await tail_of(broker_of(settings), sampled.topic, count=count, seconds=_SECONDS)
    found = survey(tail.records, reader, sample=size, seed=seed)
    return found.of_all(tail.offsets) if found.records else found


def _print(found: Survey, plans: Sequence[Plan], sampled: Sampled) -> None:
    from docsluice_consumer.trial import plan_report  # noqa: PLC0415 - see above

    if sampled.as_json:
        for one in plans:
            print(json.dumps(plan_report.fields_of(found, one)))  # noqa: T201 - it is for a program
        return
    for line in plan_report.head_of(found, plans):
        print(harmless(line))  # noqa: T201 - it is what was asked for
    print_table(plan_report.table_of(plans))
    for line in plan_report.remarks_on(plans, is_live=sampled.live):
        print(line)  # noqa: T201
