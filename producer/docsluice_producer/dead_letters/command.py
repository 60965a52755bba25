"""`docsluice-producer dead-letters`: arguments to one of its five commands."""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from docsluice.kafka.broker import Broker
from docsluice_producer.command_line.flags import wrong
from docsluice_producer.dead_letters.arguments import COMMAND
from docsluice_producer.dead_letters.drop import drop
from docsluice_producer.dead_letters.export import export
from docsluice_producer.dead_letters.listing import list_letters
from docsluice_producer.dead_letters.query import DeadLetterQuery
from docsluice_producer.dead_letters.redrive import Redrive, dry_run, redrive
from docsluice_producer.dead_letters.redriving import MOST_REPLAYS
from docsluice_producer.dead_letters.selection import Wanted
from docsluice_producer.dead_letters.showing import show
from docsluice_producer.kafka.topics import checked_name


def dead_letters(arguments: argparse.Namespace, environment: Mapping[str, str], broker: Broker) -> int:
    """Run one of the commands and return its exit code.

    Raises:
        ProducerFault: as the command.
    """
    topic = arguments.dead_letter_topic or environment.get("DOCSLUICE_DEAD_LETTER_TOPIC", "documents.dlq")
    query = DeadLetterQuery(
        broker=broker,
        topic=checked_name(topic),
        wait_seconds=arguments.wait_seconds,
        wanted=Wanted(
            reasons=frozenset(arguments.reason or ()),
            steps=frozenset(arguments.step or ()),
            document_id=getattr(arguments, "id", None),
            handled_too=getattr(arguments, "all", False),
        ),
        since=arguments.since,
        limit=getattr(arguments, "limit", None),
    )
    match arguments.action:
        case "list":
            return asyncio.run(list_letters(query, as_json=arguments.json))
        case "show":
            return asyncio.run(show(query, arguments.name, with_trace=arguments.trace))
        case "export":
            return asyncio.run(export(query, to=_path(arguments.to)))
        case "drop":
            return _drop(query, arguments)
        case _:
            return _redrive(query, arguments, environment)


def _redrive(query: DeadLetterQuery, arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    topic = checked_name(arguments.topic or environment.get("DOCSLUICE_INPUT_TOPIC", "documents"))
    asked = Redrive(
        query=query,
        topic=topic,
        per_second=arguments.per_second,
        most_replays=None if arguments.force else arguments.max_replays or MOST_REPLAYS,
    )
    return asyncio.run((dry_run if arguments.dry_run else redrive)(asked))


def _drop(query: DeadLetterQuery, arguments: argparse.Namespace) -> int:
    is_narrow = query.wanted.is_narrow or query.since is not None
    if is_narrow and arguments.everything:
        raise wrong(f"{COMMAND} drop", "choose one: --everything, or --reason, --step, --since and --id")
    if not (is_narrow or arguments.everything):
        raise wrong(f"{COMMAND} drop", "say which: --reason, --step, --since, --id, or --everything")
    if not (arguments.yes or sys.stdin.isatty()):
        raise wrong(f"{COMMAND} drop", "without a terminal to ask at, --yes must be said")
    return drop(query, confirmed=arguments.yes)


def _path(to: str) -> Path | None:
    if to == "-":
        return None
    path = Path(to)
    if path.suffix.lower() != ".jsonl":
        raise wrong(f"{COMMAND} export", f"--to {to}: the name must end in .jsonl, or be -")
    return path
