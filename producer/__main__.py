"""`docsluice-producer`: the other end of the topics. Documents in (send), outcomes out (follow)."""

import argparse
import asyncio
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from producer.connection import Broker, broker_from, settings
from producer.documents.sources import Format, select
from producer.faults import ProducerFault, WrongUsage
from producer.following.follow import Following, follow
from producer.following.reader import Start
from producer.sending.send import Destination, Sending, dry_run, send
from producer.topics import checked_name

PROGRAM = "docsluice-producer"
EXIT_FAULT = 1
EXIT_WRONG_USAGE = 2
EXIT_INTERRUPTED = 130
_DEFAULT_PARTITIONS = 6
_DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code: 0 done, 1 something could not be done, 2 wrong usage or settings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Documents are in every language, whatever this terminal's is.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        arguments = _parser().parse_args(argv)
        environment = settings(Path.cwd())
        broker = broker_from(environment, bootstrap_servers=arguments.bootstrap_servers)
        exit_code: int = arguments.run(arguments, environment, broker)
    except ProducerFault as fault:
        print(f"{PROGRAM}: {fault}", file=sys.stderr)
        return EXIT_WRONG_USAGE if isinstance(fault, WrongUsage) else EXIT_FAULT
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAULT
    return exit_code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise WrongUsage(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Send documents to a topic, and follow what becomes of them.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_send(commands)
    _add_follow(commands)
    return parser


def _add_send(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = commands.add_parser(
        "send",
        help="send documents to the input topic",
        description="Send every document of the PATHs. Bad rows are reported with file and line, the rest is sent.",
        epilog="exit code: 0 all sent; 1 some rows were bad or could not be sent; 2 wrong usage; 130 interrupted",
    )
    command.set_defaults(run=_run_send)
    add = command.add_argument
    add(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a folder of .txt/.md, a .txt, .md, .jsonl or .csv file, or - for stdin",
    )
    add(
        "--format", type=Format, choices=list(Format), help="of stdin (default: jsonl) and of files with other suffixes"
    )
    add("--id-field", default="document_id", help="column that holds the document's id (default: %(default)s)")
    add("--text-field", default="text", help="column that holds the document's text (default: %(default)s)")
    add("--topic", help="default: DOCSLUICE_INPUT_TOPIC, or documents")
    add("--create-topic", action="store_true", help="make the topic if it is not there")
    add("--partitions", type=_positive, help=f"of the topic that is made (default: {_DEFAULT_PARTITIONS})")
    add("--limit", type=_positive, metavar="N", help="send no more than N documents")
    add("--dry-run", action="store_true", help="check every row and say what would be sent; needs no broker")
    _add_connection(command)


def _add_follow(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = commands.add_parser(
        "follow",
        help="show results and dead letters as they come",
        description="Show results and dead letters as they come. Reads without a consumer group.",
        epilog="exit code: 0 seen; 1 time was up before N documents were seen; 2 wrong usage; 130 interrupted",
    )
    command.set_defaults(run=_run_follow)
    add = command.add_argument
    start = command.add_mutually_exclusive_group()
    start.add_argument("--from-beginning", action="store_true", help="begin with the oldest (default: from now on)")
    start.add_argument("--since", type=_duration, metavar="10m", help="begin so long ago: 30s, 10m, 2h, 1d")
    add("--until", type=_positive, metavar="N", help="end once N documents have a result or a dead letter")
    add("--timeout-seconds", type=_seconds, metavar="S", help="end after S seconds, whatever was seen")
    add("--to", type=Path, metavar="FILE", help="write each outcome to FILE.jsonl or FILE.csv, replacing it")
    add("--json", action="store_true", help="print JSON lines; everything else goes to standard error")
    add("--result-topic", help="default: DOCSLUICE_RESULT_TOPIC, or documents.results")
    add("--dead-letter-topic", help="default: DOCSLUICE_DEAD_LETTER_TOPIC, or documents.dlq")
    _add_connection(command)


def _add_connection(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--bootstrap-servers", metavar="HOST:PORT", help="default: KAFKA_BOOTSTRAP_SERVERS, or localhost:9092")
    add("--wait-seconds", type=_seconds, default=30.0, metavar="S", help="wait for a broker that is away (default: 30)")


def _run_send(arguments: argparse.Namespace, environment: Mapping[str, str], broker: Broker) -> int:
    if arguments.partitions and not arguments.create_topic:
        raise WrongUsage("--partitions is for a topic that is made: say --create-topic too")
    sending = Sending(
        selection=select(arguments.paths, other_format=arguments.format),
        id_field=arguments.id_field,
        text_field=arguments.text_field,
        topic=checked_name(arguments.topic or environment.get("DOCSLUICE_INPUT_TOPIC", "documents")),
        limit=arguments.limit,
    )
    if arguments.dry_run:
        return dry_run(sending)
    destination = Destination(
        broker=broker,
        wait_seconds=arguments.wait_seconds,
        create_partitions=(arguments.partitions or _DEFAULT_PARTITIONS) if arguments.create_topic else None,
    )
    return asyncio.run(send(sending, destination))


def _run_follow(arguments: argparse.Namespace, environment: Mapping[str, str], broker: Broker) -> int:
    result_topic = arguments.result_topic or environment.get("DOCSLUICE_RESULT_TOPIC", "documents.results")
    dead_letter_topic = arguments.dead_letter_topic or environment.get("DOCSLUICE_DEAD_LETTER_TOPIC", "documents.dlq")
    following = Following(
        broker=broker,
        topics=(checked_name(result_topic), checked_name(dead_letter_topic)),
        start=Start(from_beginning=arguments.from_beginning, since=arguments.since),
        wait_seconds=arguments.wait_seconds,
        until=arguments.until,
        timeout_seconds=arguments.timeout_seconds,
        to=arguments.to,
        as_json=arguments.json,
    )
    return asyncio.run(follow(following))


def _positive(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 30s, 10m, 2h or 1d")
    return timedelta(**{_DURATION_UNITS[found[2]]: int(found[1])})


if __name__ == "__main__":
    sys.exit(main())
