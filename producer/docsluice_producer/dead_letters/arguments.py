"""The flags of `dead-letters` and its five commands."""

import argparse

from docsluice.messages import DeadLetterReason
from docsluice_producer.command_line import exits
from docsluice_producer.command_line.flags import Formatter, Parser, add_connection, duration, exit_codes, positive
from docsluice_producer.dead_letters.redriving import MOST_REPLAYS

COMMAND = "dead-letters"
_DEFAULT_PER_SECOND = 100
_COMMANDS = {
    "list": ("list them, a line for each", "List dead letters, and count them by reason and step."),
    "show": (
        "show all of one",
        "Show one dead letter: what happened, the document and the headers. The newest, where there are several.",
    ),
    "redrive": (
        "send them to the input topic again",
        "Send dead letters to the input topic again. Each is marked in the same transaction, so none is sent twice.",
    ),
    "export": (
        "write them to a file, to be mended",
        "Write dead letters as JSON lines. Mend what you like and send the file: docsluice-producer send FILE.jsonl",
    ),
    "drop": (
        "mark them as done with",
        "Mark dead letters as dropped: neither listed nor redriven any more. The bytes go with the topic's retention.",
    ),
}


def add_dead_letters(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command with its own commands."""
    words = "list, show, redrive, export and drop dead letters"
    command = commands.add_parser(COMMAND, help=words, description=f"{words.capitalize()}.")
    actions = command.add_subparsers(title="commands", required=True, dest="action", metavar="COMMAND")
    for name, (short, long) in _COMMANDS.items():
        action = actions.add_parser(
            name,
            help=short,
            description=long,
            epilog=exit_codes(exits.OF_DEAD_LETTERS),
            formatter_class=Formatter,
        )
        _OWN_FLAGS[name](action)
        _add_filters(action, name)
        add = action.add_argument_group("the topic").add_argument
        add(
            "--dead-letter-topic",
            metavar="NAME",
            help="read dead letters here (default: DOCSLUICE_DEAD_LETTER_TOPIC, or documents.dlq)",
        )
        add_connection(action)


def _add_filters(command: argparse.ArgumentParser, name: str) -> None:
    add = command.add_argument_group("which ones").add_argument
    add(
        "--reason",
        action="append",
        choices=[reason.value for reason in DeadLetterReason],
        metavar="REASON",
        help=f"only these: {', '.join(DeadLetterReason)}; may be said several times (default: any)",
    )
    add(
        "--step",
        action="append",
        metavar="NAME",
        help="only those that failed in this step; may be said several times (default: any)",
    )
    add(
        "--since",
        type=duration,
        metavar="AGE",
        help="only those written so long ago or later: 30s, 10m, 2h, 1d (default: all that the topic holds)",
    )
    if name == "show":
        return
    add("--id", metavar="DOCUMENT_ID", help="only those of this document (default: any)")
    add("--limit", type=positive, metavar="N", help="no more than N, the oldest of each partition (default: all)")
    if name in ("list", "export"):
        add("--all", action="store_true", help="also what was redriven or dropped (default: only what is open)")


def _add_list(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--json",
        action="store_true",
        help="print lines of JSON, and everything else on standard error (default: text for a person)",
    )


def _add_show(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "name",
        metavar="ID",
        help="a document's id; or a place of the dead-letter topic, PARTITION@OFFSET; or the place where it was first"
        " read, TOPIC/PARTITION@OFFSET, as the service's log has it",
    )
    add("--trace", action="store_true", help="also show the stack trace (default: only of the reason unexpected)")


def _add_redrive(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("the sending").add_argument
    add(
        "--topic",
        metavar="NAME",
        help="send here what was first read here (default: DOCSLUICE_INPUT_TOPIC, or documents)",
    )
    add(
        "--dry-run",
        action="store_true",
        help="say what would be sent and what it may cost, and write nothing (default: send)",
    )
    add(
        "--per-second",
        type=positive,
        default=_DEFAULT_PER_SECOND,
        metavar="N",
        help="send no more than N a second (default: %(default)s)",
    )
    bound = command.add_argument_group("the guard against loops").add_mutually_exclusive_group()
    bound.add_argument(
        "--max-replays",
        type=positive,
        metavar="N",
        # No default here: argparse could not tell it from the same number given beside --force.
        help=f"pass over what was sent again N times already (default: {MOST_REPLAYS})",
    )
    bound.add_argument("--force", action="store_true", help="pass over none for that (default: pass over)")


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--to",
        required=True,
        metavar="FILE",
        help="write to FILE.jsonl, replacing the file, or - for standard output (default: none, it must be said)",
    )


def _add_drop(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--yes", action="store_true", help="do not ask; needed without a terminal (default: ask)")
    add(
        "--everything",
        action="store_true",
        help="drop all of them; needed without --reason, --step, --since or --id, and wrong beside them"
        " (default: an error)",
    )


_OWN_FLAGS = {
    "list": _add_list,
    "show": _add_show,
    "redrive": _add_redrive,
    "export": _add_export,
    "drop": _add_drop,
}
