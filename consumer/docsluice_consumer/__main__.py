"""The program docsluice-consumer. Exit codes: 0 drained, 1 a fault, 2 bad settings or wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import structlog

from docsluice.network.urls import shown
from docsluice.text.known_secrets import KnownSecrets
from docsluice.text.printable import harmless
from docsluice_consumer.bootstrap import known_secrets_of
from docsluice_consumer.check.check import check
from docsluice_consumer.errors import ConfigurationError, ServiceFault
from docsluice_consumer.runtime.open_files import why_no_file
from docsluice_consumer.service import Service, installed_version
from docsluice_consumer.settings import Settings, load_settings, unknown_variables, variable_of
from docsluice_consumer.telemetry.logs import configure_logs
from docsluice_consumer.telemetry.loop_errors import LoopErrors

log = structlog.get_logger("docsluice_consumer")  # also where it is run with -m, under another name

PROGRAM = "docsluice-consumer"
DRAINED, FAULT, BAD_SETTINGS = 0, 1, 2
_NO_COMMAND = "the first argument must be run or check, with the flags behind it"
_ENV_FILE = (
    "file of settings, under the environment, instead of the .env in the working folder; one that is named may send"
    " secrets of the environment to the addresses that it sets"
)
_SECRETS = frozenset({"openai_api_key", "kafka_sasl_password", "shared_limits_url", "store_url"})


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code.

    Raises:
        SystemExit: after `--help` and `--version`, with 0; on wrong usage, with 2.
    """
    try:
        code = _main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULT
    return code


def _main(arguments: list[str] | None) -> int:
    parsed = _parse(arguments)
    command = parsed.pop("command")
    extent = {name: parsed.pop(name) for name in ("live", "deep") if name in parsed}
    env_file = parsed.pop("env_file")
    secrets = KnownSecrets()
    try:
        settings = load_settings(
            {name: value for name, value in parsed.items() if value is not None}, env_file=env_file
        )
        secrets = known_secrets_of(settings)
        log_format = settings.log_format or ("console" if sys.stderr.isatty() else "json")
        configure_logs(log_format=log_format, level=settings.log_level, cut=secrets.cut_all)
        return asyncio.run(_check(settings, secrets, **extent) if command == "check" else _run(settings, secrets))
    except ConfigurationError as error:
        for problem in error.problems:
            line = harmless(secrets.cut(f"{PROGRAM}: {problem}"))
            print(line, file=sys.stderr)  # noqa: T201 - the person who started us reads it
        return BAD_SETTINGS


async def _run(settings: Settings, secrets: KnownSecrets) -> int:
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


async def _check(settings: Settings, secrets: KnownSecrets, *, live: bool, deep: bool) -> int:
    def say(line: str) -> None:
        _say(secrets.cut(line))

    try:
        return DRAINED if await check(settings, secrets, say=say, live=live, deep=deep) else FAULT
    except (ConfigurationError, BrokenPipeError):
        raise
    except Exception as error:
        if (why := why_no_file(error)) is None:
            log.critical("check.bug", exc_info=True)
        else:
            say(f"FAILED   open files: {why}")
        return FAULT


def _say(line: str) -> None:
    print(harmless(line), flush=True)  # noqa: T201 - each line is seen as soon as it is known


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


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the list of all flags and without values, which may be secrets."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message:  # of a command, and argparse quotes what stands in its place
            message = _NO_COMMAND
        self.exit(BAD_SETTINGS, f"{PROGRAM}: {message}; see {PROGRAM} --help\n")


def _parse(arguments: list[str] | None) -> dict[str, Any]:
    parser = _parser()
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_unknown(unknown))
    if parsed.command is None:
        parser.error(_NO_COMMAND)
    return vars(parsed)


def _unknown(arguments: list[str]) -> str:
    """A sentence on the first flag that there is not; never its value, which may be a secret."""
    flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    if not flags:
        return "there is a value without a flag"
    flag = flags[0] if flags[0].startswith("--") else flags[0][:2]  # -p may have its value right behind it
    for field in _SECRETS:
        if flag == _flag_of(field):
            return f"there is no flag {flag}, for a command line can be read by others; set {variable_of(field)}"
    return f"there is no flag {flag}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Runs LLM tasks on each document of a Kafka topic. Settings come from the environment and .env; "
        "flags override them. Secrets have no flag, for a command line can be read by others.",
        epilog="exit codes: 0 drained, or all well; 1 a fault; 2 bad settings or wrong usage",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {installed_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, meaning in (
        ("run", "consume until told to stop"),
        ("check", "try the settings, the pipeline file, the broker and the provider, and say what is missing"),
    ):
        usage = f"{PROGRAM} {name} [--FLAG VALUE ...]"
        command = commands.add_parser(name, help=meaning, description=meaning, usage=usage, allow_abbrev=False)
        for field in Settings.model_fields:
            if field not in _SECRETS:
                command.add_argument(_flag_of(field), dest=field, metavar="VALUE", help=_help_of(field))
        command.add_argument("--env-file", dest="env_file", type=Path, metavar="PATH", help=_ENV_FILE)
        if name == "check":
            command.add_argument("--live", action="store_true", help="make one real, paid call for each task and model")
            command.add_argument("--deep", action="store_true", help="ask for our rights on the broker, too")
    return parser


def _flag_of(field: str) -> str:
    return "--" + field.replace("_", "-")


def _help_of(field: str) -> str:
    setting = Settings.model_fields[field]
    default = f"{setting.default:g}" if isinstance(setting.default, float) else setting.default
    named = variable_of(field) if default is None else f"{variable_of(field)}, default {default}"
    return f"{setting.description} ({named})"


if __name__ == "__main__":
    sys.exit(main())
