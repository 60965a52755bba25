"""`python -m docsluice_local.rehearsal`: the rehearsal provider in the foreground."""

import argparse
import asyncio
import signal
import sys

from docsluice_local.rehearsal.characters.loading import all_characters, load_character
from docsluice_local.rehearsal.faults import Fault, fault_named
from docsluice_local.rehearsal.limits import Limited
from docsluice_local.rehearsal.provider import rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings

_LIST = "list"


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = rehearsal_parser()
    arguments = parser.parse_args()
    if arguments.character == _LIST:
        print("\n".join(f"{each.name:<12}{each.summary}" for each in all_characters()))
        return
    try:
        settings = settings_of(arguments)
    except ValueError as problem:
        parser.error(str(problem))
    try:
        asyncio.run(_serve(settings, host=arguments.host, port=arguments.port))
    except OSError as error:
        sys.exit(
            f"{parser.prog}: cannot listen on {arguments.host}:{arguments.port} (--host, --port): {error.strerror}"
        )


def settings_of(arguments: argparse.Namespace) -> RehearsalSettings:
    """What the command line asks for.

    Raises:
        ValueError: a number is out of its range, or no fault or character has this name.
    """
    character = load_character(arguments.character) if arguments.character else None
    return RehearsalSettings(
        seed=arguments.seed,
        median_seconds=arguments.median_seconds,
        sigma=arguments.sigma,
        requests_per_minute=arguments.requests_per_minute,
        tokens_per_minute=arguments.tokens_per_minute,
        input_tokens_per_minute=arguments.input_tokens_per_minute,
        output_tokens_per_minute=arguments.output_tokens_per_minute,
        limits_by_model=arguments.limits_by_model,
        limit_headers=not arguments.no_limit_headers,
        window_seconds=arguments.window_seconds,
        reserved_output_tokens=arguments.reserved_output_tokens,
        slow_past=arguments.slow_past,
        slow_power=arguments.slow_power,
        fault_rates={fault_named(name, character): share for name, share in arguments.fault_rate},
        context_tokens=arguments.context_tokens,
        models=tuple(arguments.model),
        api_key=arguments.api_key,
        json_schema=not arguments.without_json_schema,
        json_object=not arguments.without_json_object,
        character=character,
    )


async def _serve(settings: RehearsalSettings, *, host: str, port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with rehearsal_provider(settings, host=host, port=port) as provider:
        played = f", as {settings.character.title}" if settings.character else ""
        print(f"rehearsal provider ready: {provider.base_url}{played}", flush=True)
        await ended.wait()


def rehearsal_parser() -> argparse.ArgumentParser:
    """The flags, each with the default of `RehearsalSettings`."""
    parser = argparse.ArgumentParser(
        prog="python -m docsluice_local.rehearsal",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="An OpenAI-compatible provider to rehearse with: seeded latency, enforced limits, faults.",
        epilog=f"Faults: {', '.join(Fault)}, or a kind of error of the character. "
        "A document can ask for one itself: [[rehearse:500x2]].",
    )
    defaults = RehearsalSettings()
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument(
        "--character", metavar="NAME", help=f"answer as this provider does; {_LIST} shows which there are"
    )
    parser.add_argument("--port", type=int, default=8081, help="where to listen")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="same seed, same latencies and faults")
    parser.add_argument("--median-seconds", type=float, default=defaults.median_seconds, help="median latency")
    parser.add_argument("--sigma", type=float, default=defaults.sigma, help="spread of the lognormal latency")
    parser.add_argument("--slow-past", type=int, help="calls in flight that the server still takes with ease")
    parser.add_argument(
        "--slow-power", type=float, default=defaults.slow_power, help="latency past it times (in flight / N) ** POWER"
    )
    _add_limits(parser, defaults)
    parser.add_argument(
        "--fault-rate", type=_fault_rate, action="append", default=[], metavar="FAULT=SHARE", help="e.g. 429=0.01"
    )
    parser.add_argument("--context-tokens", type=int, help="the models' context; None is endless")
    parser.add_argument("--model", action="append", default=[], help="a model that exists; none named is any")
    parser.add_argument("--api-key", help="the key that is asked for; None is any")
    parser.add_argument("--without-json-schema", action="store_true", help="answer 400 to json_schema")
    parser.add_argument("--without-json-object", action="store_true", help="answer 400 to json_object")
    return parser


def _add_limits(parser: argparse.ArgumentParser, defaults: RehearsalSettings) -> None:
    for what in Limited:
        flag = f"--{what.replace('_', '-')}-per-minute"
        parser.add_argument(flag, type=float, help="None is no limit")
    parser.add_argument("--limits-by-model", action="store_true", help="each model has the limits to itself")
    parser.add_argument(
        "--no-limit-headers", action="store_true", help="no x-ratelimit headers and no Retry-After, as vLLM"
    )
    parser.add_argument(
        "--window-seconds", type=float, default=defaults.window_seconds, help="what may be used in one burst"
    )
    parser.add_argument(
        "--reserved-output-tokens",
        type=int,
        default=defaults.reserved_output_tokens,
        help="the most of a request's output bound that is counted before it runs",
    )


def _fault_rate(argument: str) -> tuple[str, float]:
    name, _, share = argument.partition("=")
    return name, float(share)


if __name__ == "__main__":
    main()
