"""The command line: every flag with its meaning and its default."""

import argparse
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from docsluice_producer.command_line import exits
from docsluice_producer.command_line.flags import (
    PROGRAM,
    Formatter,
    Parser,
    add_connection,
    duration,
    exit_codes,
    positive,
    seconds,
    url,
    wrong,
)
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.dead_letters.arguments import add_dead_letters
from docsluice_producer.documents.sources import Format
from docsluice_producer.metrics.sample import PIPELINE_VERSION

DEFAULT_PARTITIONS = 6


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments by name; `command` is the command that they are for, `action` the command of a command.

    Raises:
        WrongUsage: they make no sense; the message is one line that says where to look.
        SystemExit: after --help and --version there is nothing to do.
    """
    arguments, unknown = parser().parse_known_args(argv)
    if unknown:
        command = " ".join([arguments.command, *filter(None, [getattr(arguments, "action", None)])])
        raise wrong(command, f"unknown arguments: {printable(' '.join(unknown))}")
    return arguments


def parser() -> argparse.ArgumentParser:
    """The command line as a whole."""
    whole = Parser(prog=PROGRAM, description="Send documents to a topic, and follow what becomes of them.")
    version = f"{PROGRAM} {importlib.metadata.version('docsluice')}"
    whole.add_argument("--version", action="version", version=version, help="show the version and exit")
    commands = whole.add_subparsers(title="commands", required=True, dest="command", metavar="COMMAND")
    _add_send(commands)
    _add_follow(commands)
    add_dead_letters(commands)
    return whole


def _add_send(commands: "argparse._SubParsersAction[Parser]") -> None:
    command = commands.add_parser(
        "send",
        help="send documents to the input topic",
        description="Send every document of the PATHs. A bad row is reported with file and line, and the rest is sent.",
        epilog=exit_codes(exits.OF_SEND),
        formatter_class=Formatter,
    )
    _add_documents(command)
    add = command.add_argument_group("the topic").add_argument
    add("--topic", metavar="NAME", help="send to this topic (default: DOCSLUICE_INPUT_TOPIC, or documents)")
    add("--create-topic", action="store_true", help="make the topic if it is not there (default: end with an error)")
    add(
        "--partitions",
        type=positive,
        metavar="N",
        help=f"with --create-topic: make it with N partitions (default: {DEFAULT_PARTITIONS})",
    )
    _add_if_changed(command)
    add_connection(command)


def _add_documents(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the documents")
    group.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a folder (its .txt and .md are read), a .txt, .md, .jsonl, .ndjson, .json or .csv file, or - for standard"
        " input",
    )
    add = group.add_argument
    add(
        "--format",
        type=Format,
        choices=list(Format),
        help="read files with other suffixes, and standard input, as this"
        " (default: jsonl for standard input; another suffix is an error)",
    )
    add("--id-field", default="document_id", metavar="NAME", help="take the id from this column (default: %(default)s)")
    add("--text-field", default="text", metavar="NAME", help="take the text from this column (default: %(default)s)")
    add("--limit", type=positive, metavar="N", help="send no more than N documents (default: all)")
    add(
        "--dry-run",
        action="store_true",
        help="check every row and say what would be sent; only --if-changed needs a broker for it (default: send)",
    )


def _add_if_changed(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("only what has no result yet")
    group.add_argument(
        "--if-changed",
        action="store_true",
        help="pass over documents that have a result: of the same id and text, under the pipeline version that the"
        " consumers run; reads the whole result topic first (default: send all)",
    )
    version = group.add_mutually_exclusive_group()
    version.add_argument(
        "--pipeline-version",
        type=_pipeline_version,
        metavar="V",
        help="with --if-changed: count results of this version, which docsluice-consumer check shows"
        " (default: ask a consumer)",
    )
    version.add_argument(
        "--metrics-url",
        type=url,
        action="append",
        metavar="URL",
        help="with --if-changed: ask this consumer for its version; once for each replica"
        " (default: the one on this machine, at DOCSLUICE_HTTP_PORT or 9464)",
    )
    group.add_argument(
        "--result-topic",
        metavar="NAME",
        help="with --if-changed: the results are here (default: DOCSLUICE_RESULT_TOPIC, or documents.results)",
    )


def _add_follow(commands: "argparse._SubParsersAction[Parser]") -> None:
    command = commands.add_parser(
        "follow",
        help="show results and dead letters as they come",
        description="Show results and dead letters as they come. Reads committed records only, and without a consumer"
        " group: it takes nothing from anybody.",
        epilog=exit_codes(exits.OF_FOLLOW),
        formatter_class=Formatter,
    )
    bounds = command.add_argument_group("from when, until when")
    start = bounds.add_mutually_exclusive_group()
    start.add_argument("--from-beginning", action="store_true", help="begin with the oldest (default: from now on)")
    start.add_argument(
        "--since", type=duration, metavar="AGE", help="begin so long ago: 30s, 10m, 2h, 1d (default: from now on)"
    )
    add = bounds.add_argument
    add("--until", type=positive, metavar="N", help="end once N documents have ended, well or not (default: never)")
    add("--timeout-seconds", type=seconds, metavar="S", help="end after S seconds in any case (default: never)")
    _add_output(command)
    add = command.add_argument_group("the topics").add_argument
    add(
        "--result-topic",
        metavar="NAME",
        help="read results here (default: DOCSLUICE_RESULT_TOPIC, or documents.results)",
    )
    add(
        "--dead-letter-topic",
        metavar="NAME",
        help="read dead letters here (default: DOCSLUICE_DEAD_LETTER_TOPIC, or documents.dlq)",
    )
    add_connection(command)


def _add_output(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("the output").add_argument
    add(
        "--to",
        type=Path,
        metavar="FILE",
        help="also write each outcome to FILE.jsonl or FILE.csv, replacing the file (default: none)",
    )
    add(
        "--json",
        action="store_true",
        help="print the lines that a .jsonl would hold, and everything else on standard error"
        " (default: text for a person)",
    )
    add(
        "--metrics-url",
        type=url,
        action="append",
        metavar="URL",
        help="also say what limits the consumers now, from the metrics of a replica; once for each of them"
        " (default: none)",
    )


def _pipeline_version(text: str) -> str:
    # Under a misspelt version nothing is done, and all would be sent and paid for again.
    if not PIPELINE_VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no pipeline version: 12 digits and letters from a to f")
    return text
