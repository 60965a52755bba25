"""`python -m deploy.local.rehearsal`: the rehearsal provider in the foreground."""

import argparse
import asyncio
import signal

from deploy.local.rehearsal.faults import Fault, UnknownFaultError, fault_named
from deploy.local.rehearsal.provider import rehearsal_provider
from deploy.local.rehearsal.settings import RehearsalSettings


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        settings = RehearsalSettings(
            seed=arguments.seed,
            median_seconds=arguments.median_seconds,
            sigma=arguments.sigma,
            requests_per_minute=arguments.requests_per_minute,
            tokens_per_minute=arguments.tokens_per_minute,
            window_seconds=arguments.window_seconds,
            reserved_output_tokens=arguments.reserved_output_tokens,
            fault_rates=dict(arguments.fault_rate),
            context_tokens=arguments.context_tokens,
            models=tuple(arguments.model),
            api_key=arguments.api_key,
            json_schema=not arguments.without_json_schema,
            json_object=not arguments.without_json_object,
        )
    except ValueError as problem:
        parser.error(str(problem))
    asyncio.run(_serve(settings, host=arguments.host, port=arguments.port))


async def _serve(settings: RehearsalSettings, *, host: str, port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with rehearsal_provider(settings, host=host, port=port) as provider:
        print(f"rehearsal provider ready: {provider.base_url}", flush=True)
        await ended.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.rehearsal",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="An OpenAI-compatible provider to rehearse with: seeded latency, enforced limits, faults.",
        epilog=f"Faults: {', '.join(Fault)}. A document can ask for one itself: [[rehearse:500x2]].",
    )
    defaults = RehearsalSettings()
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=8081, help="where to listen")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="same seed, same latencies and faults")
    parser.add_argument("--median-seconds", type=float, default=defaults.median_seconds, help="median latency")
    parser.add_argument("--sigma", type=float, default=defaults.sigma, help="spread of the lognormal latency")
    parser.add_argument("--requests-per-minute", type=float, help="None is no limit")
    parser.add_argument("--tokens-per-minute", type=float, help="None is no limit")
    parser.add_argument(
        "--window-seconds", type=float, default=defaults.window_seconds, help="what may be used in one burst"
    )
    parser.add_argument(
        "--reserved-output-tokens",
        type=int,
        default=defaults.reserved_output_tokens,
        help="the most of a request's output bound that is counted before it runs",
    )
    parser.add_argument(
        "--fault-rate", type=_fault_rate, action="append", default=[], metavar="FAULT=SHARE", help="e.g. 429=0.01"
    )
    parser.add_argument("--context-tokens", type=int, help="the models' context; None is endless")
    parser.add_argument("--model", action="append", default=[], help="a model that exists; none named is any")
    parser.add_argument("--api-key", help="the key that is asked for; None is any")
    parser.add_argument("--without-json-schema", action="store_true", help="answer 400 to json_schema")
    parser.add_argument("--without-json-object", action="store_true", help="answer 400 to json_object")
    return parser


def _fault_rate(argument: str) -> tuple[Fault, float]:
    name, _, share = argument.partition("=")
    try:
        return fault_named(name), float(share)
    except UnknownFaultError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem


if __name__ == "__main__":
    main()
