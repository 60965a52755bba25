"""The commands `run` and `check`. Exit codes: 0 drained, 1 a fault, 2 bad settings or wrong usage.

The service is imported when it is started: a page of `--help`, or a mistyped flag, need not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import structlog
from cyclopts import Parameter

from docsluice.cli.output import is_lost_output
from docsluice.cli.page import command
from docsluice.network.urls import shown
from docsluice.text.known_secrets import KnownSecrets
from docsluice.text.printable import harmless
from docsluice_consumer.commands.command_settings import BAD_SETTINGS, EnvFile, settings_of_command
from docsluice_consumer.commands.setting_flags import takes_settings
from docsluice_consumer.errors import ConfigurationError, ServiceFault
from docsluice_consumer.runtime.open_files import why_no_file
from docsluice_consumer.settings import Settings, unknown_variables
from docsluice_consumer.telemetry.loop_errors import LoopErrors

log = structlog.get_logger("docsluice_consumer")
_COLLECTIONS = (10_000, 20, 100)
"""How many new objects bring a collection, and how many collections bring one of the older objects."""

DRAINED, FAULT = 0, 1
_EXIT_CODES = {DRAINED: "drained, or all well", FAULT: "a fault", BAD_SETTINGS: "bad settings or wrong usage"}
_STATE_WIDTH = len("DOUBTFUL ")


@takes_settings
def _run(*, env_file: EnvFile = None, **flags: str | None) -> int:
    """Consume until told to stop.

    $ docsluice run
    $ docsluice run --pipeline pipeline.yaml --max-concurrency 32
    $ docsluice run --env-file production.env

    Settings come from the environment and .env; flags override them. Secrets have no flag, for a command line can be
    read by others.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until there is something to resume
    gc.disable()  # until the service is loaded, too: see `docsluice.cli.program`
    with settings_of_command(env_file, flags) as (settings, secrets):
        return asyncio.run(_serve(settings, secrets))


@takes_settings
def _check(
    *,
    live: Annotated[bool, Parameter(group="The check")] = False,
    deep: Annotated[bool, Parameter(group="The check")] = False,
    as_json: Annotated[bool, Parameter(name="--json", group="The check")] = False,
    env_file: EnvFile = None,
    **flags: str | None,
) -> int:
    """Try the settings, the pipeline file, the broker and the provider, and say what is missing.

    $ docsluice check
    $ docsluice check --live
    $ docsluice check --json | jq .finding

    Args:
        live: make one real, paid call for each task and model
        deep: ask for our rights on the broker, too
        as_json: print a JSON object a line, with state and finding
    """
    with settings_of_command(env_file, flags) as (settings, secrets):
        return asyncio.run(_look(settings, secrets, live=live, deep=deep, show=_show_json if as_json else _show))


@takes_settings
def _schema(
    what: Annotated[Literal["event", "result", "dead-letter", "asyncapi", "pipeline"], Parameter(metavar="WHAT")],
    /,
    *,
    env_file: EnvFile = None,
    **flags: str | None,
) -> int:
    """Print what crosses the topics, for machines.

    $ docsluice schema result > result.schema.json
    $ docsluice schema asyncapi --pipeline pipeline.yaml > asyncapi.json

    A result's outputs are those of the pipeline's tasks. Nothing is connected to.

    Args:
        what: a JSON Schema of the event, of the result, of a dead letter's headers, or of the pipeline file; or an
            AsyncAPI 3 document of the first three
    """
    with settings_of_command(env_file, flags) as (settings, _):
        from docsluice_consumer import message_schemas  # noqa: PLC0415 - see above
        from docsluice_consumer.tasks.file_schema import pipeline_file_schema  # noqa: PLC0415
        from docsluice_consumer.tasks.pipeline_file import load_pipeline_file  # noqa: PLC0415

        file = load_pipeline_file(settings.pipeline)
        match what:
            case "event":
                schema = message_schemas.event_schema(file)
            case "result":
                schema = message_schemas.published_schema(file)
            case "dead-letter":
                schema = message_schemas.dead_letter_schema()
            case "pipeline":
                schema = pipeline_file_schema()
            case "asyncapi":
                schema = message_schemas.asyncapi(
                    file,
                    servers=settings.kafka_bootstrap_servers,
                    group_id=settings.group_id,
                    input_topic=settings.input_topic,
                    result_topic=settings.result_topic,
                    dead_letter_topic=settings.dead_letter_topic,
                )
        print(json.dumps(schema, indent=2, ensure_ascii=False))  # noqa: T201 - it is for a file
    return DRAINED


run = command(_run, name="run", exit_codes=_EXIT_CODES)
check = command(_check, name="check", exit_codes=_EXIT_CODES)
schema = command(_schema, name="schema", exit_codes={DRAINED: "printed", BAD_SETTINGS: _EXIT_CODES[BAD_SETTINGS]})


async def _serve(settings: Settings, secrets: KnownSecrets) -> int:
    from docsluice_consumer.service import Service  # noqa: PLC0415 - see above

    for problem in unknown_variables(file=settings.env_file):
        log.warning("settings.unknown", problem=problem)
    if settings.given_by_file:
        log.info(
            "settings.env_file",
            path=str(settings.env_file.path),
            variables=sorted(settings.given_by_file),
            base_url=shown(settings.openai_base_url or "OpenAI"),
        )
    asyncio.get_running_loop().set_exception_handler(LoopErrors())
    service = Service(settings, secrets)
    gc.freeze()  # it stays to the end; looking through it again and again was an eighth of the work's time
    # Open records are many, and no garbage. By default, with 256 calls in flight, full collections took a fifth of the
    # time, each of them for a third of a second in which no call went out.
    gc.set_threshold(*_COLLECTIONS)
    gc.enable()
    with _signals(resume=service.resume) as stop:
        try:
            await service.run(stop)
        except ServiceFault as fault:
            log.critical("service.fault", error=str(fault))
            return FAULT
        except ConfigurationError:
            raise
        except Exception as error:
            if (why := why_no_file(error)) is None:
                log.critical("service.bug", exc_info=True)
            else:
                log.critical("service.fault", error=why)
            return FAULT
    return DRAINED


async def _look(
    settings: Settings, secrets: KnownSecrets, *, live: bool, deep: bool, show: Callable[[str], None]
) -> int:
    from docsluice_consumer.check.check import check as look  # noqa: PLC0415 - see above

    def say(line: str) -> None:
        show(secrets.cut(line))

    try:
        return DRAINED if await look(settings, secrets, say=say, live=live, deep=deep) else FAULT
    except ConfigurationError:
        raise
    except Exception as error:
        if is_lost_output(error):
            raise
        if (why := why_no_file(error)) is None:
            log.critical("check.bug", exc_info=True)
        else:
            say(f"FAILED   open files: {why}")
        return FAULT


def _show(line: str) -> None:
    """Print it as soon as it is known; on a terminal, wrapped beside the column of states."""
    text = harmless(line)
    if sys.stdout.isatty():
        width = max(2 * _STATE_WIDTH, shutil.get_terminal_size().columns)
        text = textwrap.fill(text, width, subsequent_indent=" " * _STATE_WIDTH, break_on_hyphens=False)
    print(text, flush=True)  # noqa: T201 - each line is seen as soon as it is known


def _show_json(line: str) -> None:
    state, finding = line[:_STATE_WIDTH].strip().lower(), line[_STATE_WIDTH:]
    print(json.dumps({"state": state, "finding": finding}), flush=True)  # noqa: T201 - as above


@contextlib.contextmanager
def _signals(*, resume: Callable[[], None]) -> Iterator[asyncio.Event]:
    """An event that SIGTERM, SIGINT and SIGHUP set. The first asks for a drain.

    A second SIGTERM or SIGINT ends the process at once. SIGHUP never does: a terminal that closes may send several. It
    stays ignored where it was (nohup). SIGUSR1 calls `resume`.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def asked_to_stop() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, asked_to_stop)
    loop.add_signal_handler(signal.SIGUSR1, resume)
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    if hangs_up:
        loop.add_signal_handler(signal.SIGHUP, stop.set)
    try:
        yield stop
    finally:
        for number in (*signals, signal.SIGUSR1):
            loop.remove_signal_handler(number)
        if hangs_up:
            loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # unhandled it would end the process, and with a bad exit code
