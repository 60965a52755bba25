"""The program docsluice-consumer. Exit codes: 0 drained, 1 a fault, 2 bad settings."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

import structlog

from consumer.check import check
from consumer.errors import ConfigurationError, ServiceFault
from consumer.service import Service
from consumer.settings import Settings, load_settings, unknown_variables, variable_of
from consumer.telemetry.logs import configure_logs

log = structlog.get_logger(__name__)

DRAINED, FAULT, BAD_SETTINGS = 0, 1, 2
_SECRETS = frozenset({"openai_api_key", "kafka_sasl_password"})


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parsed = vars(_parser().parse_args(arguments))
    command = parsed.pop("command")
    try:
        settings = load_settings({name: value for name, value in parsed.items() if value is not None})
        log_format = settings.log_format or ("console" if sys.stderr.isatty() else "json")
        configure_logs(log_format=log_format, level=settings.log_level)
        for problem in unknown_variables():
            log.warning("settings.unknown", problem=problem)
        return asyncio.run(_check(settings) if command == "check" else _run(settings))
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"docsluice-consumer: {problem}", file=sys.stderr)  # noqa: T201 - the person who started us reads it
        return BAD_SETTINGS


async def _run(settings: Settings) -> int:
    service = Service(settings)
    with _stop_on_signals() as stop:
        try:
            await service.run(stop)
        except ServiceFault as fault:
            log.critical("service.fault", error=str(fault))
            return FAULT
        except ConfigurationError:
            raise
        except Exception:
            log.critical("service.bug", exc_info=True)
            return FAULT
    return DRAINED


async def _check(settings: Settings) -> int:
    return DRAINED if await check(settings, say=print) else FAULT


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set. The first asks for a drain; the second ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def asked_to_stop() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, asked_to_stop)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="docsluice-consumer",
        description="Runs LLM tasks on each document of a Kafka topic. Settings come from the environment and .env; "
        "flags override them. Secrets have no flag, for a command line can be read by others.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, meaning in (
        ("run", "consume until told to stop"),
        ("check", "try the settings, the pipeline file, the broker and the provider, and say what is missing"),
    ):
        command = commands.add_parser(name, help=meaning, description=meaning)
        for field in Settings.model_fields:
            if field not in _SECRETS:
                _add_flag(command, field)
    return parser


def _add_flag(command: argparse.ArgumentParser, field: str) -> None:
    flag: dict[str, Any] = {"dest": field, "metavar": "VALUE", "help": variable_of(field)}
    command.add_argument("--" + field.replace("_", "-"), **flag)


if __name__ == "__main__":
    sys.exit(main())
