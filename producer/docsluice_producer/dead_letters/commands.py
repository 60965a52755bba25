"""The command `dead-letters`, and its five commands."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import App, Group, Parameter

from docsluice.cli.output import WrongArguments
from docsluice.cli.page import command
from docsluice.messages import DeadLetterReason
from docsluice.settings.shared_settings import SharedSettings
from docsluice_producer.command_line.exits import OF_DEAD_LETTERS
from docsluice_producer.command_line.flags import Age, AsJson, Count, Topic, WrittenPath, choose_one, in_groups
from docsluice_producer.dead_letters.drop import drop
from docsluice_producer.dead_letters.export import export
from docsluice_producer.dead_letters.listing import list_letters
from docsluice_producer.dead_letters.query import DeadLetterQuery
from docsluice_producer.dead_letters.redrive import Redrive, redrive
from docsluice_producer.dead_letters.redrive import dry_run as check_redrive
from docsluice_producer.dead_letters.redriving import MOST_REPLAYS
from docsluice_producer.dead_letters.selection import Wanted
from docsluice_producer.dead_letters.showing import show
from docsluice_producer.kafka.connection_flags import Connection

_WHICH, _SENDING, _GUARD, _TOPIC = in_groups("Which ones", "The sending", "The guard against loops", "The topic")
_ONE_GUARD = choose_one(_GUARD)
_OF_WHICH = Parameter.combine(_WHICH, Parameter(name="*"))

All = Annotated[bool, _WHICH, Parameter(name="--all")]
Query: TypeAlias = AbstractContextManager[tuple[DeadLetterQuery, SharedSettings]]
HERE = Connection()
_REASONS = tuple(each.value for each in DeadLetterReason)


@_OF_WHICH
@dataclass(frozen=True, kw_only=True)
class Failures:
    """Dead letters by how they failed, and the topic that holds them.

    Attributes:
        reason: only these; may be said several times [default: any]
        step: only those that failed in this step; may be said several times [default: any]
        since: only those written so long ago or later: 30s, 10m, 2h, 1d [default: all that the topic holds]
        dead_letter_topic: read dead letters here [default: DOCSLUICE_DEAD_LETTER_TOPIC, or documents.dlq]
    """

    reason: Annotated[tuple[str, ...], Parameter(metavar="REASON", choices=_REASONS)] = ()
    step: Annotated[tuple[str, ...], Parameter(metavar="NAME")] = ()
    since: Age | None = None
    dead_letter_topic: Annotated[Topic | None, _TOPIC] = None

    @contextmanager
    def query(
        self,
        connection: Connection,
        *,
        document_id: str | None = None,
        limit: int | None = None,
        handled_too: bool = False,
        input_topic: str | None = None,
    ) -> Iterator[tuple[DeadLetterQuery, SharedSettings]]:
        """The question to the topic, and the settings, for the length of a command."""
        topics = {"dead_letter_topic": self.dead_letter_topic, "input_topic": input_topic}
        with connection.settings(**topics) as (settings, broker):
            wanted = Wanted(
                reasons=frozenset(self.reason),
                steps=frozenset(self.step),
                document_id=document_id,
                handled_too=handled_too,
            )
            query = DeadLetterQuery(
                broker=broker,
                topic=settings.dead_letter_topic,
                wait_seconds=connection.wait_seconds,
                wanted=wanted,
                since=self.since,
                limit=limit,
            )
            yield query, settings


@_OF_WHICH
@dataclass(frozen=True, kw_only=True)
class Which(Failures):
    """The same, of one document, and no more than so many.

    Attributes:
        document_id: only those of this document [default: any]
        limit: no more than N, the oldest of each partition [default: all]
    """

    document_id: Annotated[str | None, Parameter(name="--id", metavar="DOCUMENT_ID")] = None
    limit: Count | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it asks for anything but a number of them."""
        return bool(self.reason or self.step or self.since is not None or self.document_id is not None)

    def letters(self, connection: Connection, *, handled_too: bool = False, input_topic: str | None = None) -> Query:
        """As `query`."""
        return self.query(
            connection,
            document_id=self.document_id,
            limit=self.limit,
            handled_too=handled_too,
            input_topic=input_topic,
        )


def _list(
    *, as_json: AsJson = False, handled_too: All = False, which: Which = Which(), connection: Connection = HERE
) -> int:
    """List dead letters, a line for each, and count them by reason and step.

    $ docsluice dead-letters list
    $ docsluice dead-letters list --reason truncated --since 1d
    $ docsluice dead-letters list --json | jq .document_id

    Args:
        as_json: print lines of JSON, and everything else on standard error
        handled_too: also what was redriven or dropped
    """
    with which.letters(connection, handled_too=handled_too) as (query, _):
        return asyncio.run(list_letters(query, as_json=as_json))


def _show(
    name: Annotated[str, Parameter(name="ID")],
    /,
    *,
    trace: bool = False,
    failures: Failures = Failures(),
    connection: Connection = HERE,
) -> int:
    """Show all of one: what happened, the document and the headers. The newest, where there are several.

    $ docsluice dead-letters show mail-17
    $ docsluice dead-letters show 0@42

    Args:
        name: a document's id, or the place TOPIC/PARTITION@OFFSET of the dead letter or of the record as it was first
            read, as the log has it; without the topic, that of dead letters
        trace: also show the stack trace, and not of the reason unexpected only
    """
    with failures.query(connection) as (query, _):
        return asyncio.run(show(query, name, with_trace=trace))


def _redrive(
    *,
    topic: Annotated[Topic | None, _SENDING] = None,
    dry_run: Annotated[bool, _SENDING] = False,
    per_second: Annotated[Count, _SENDING] = 100,
    max_replays: Annotated[Count | None, _ONE_GUARD] = None,
    force: Annotated[bool, _ONE_GUARD] = False,
    which: Which = Which(),
    connection: Connection = HERE,
) -> int:
    """Send them to the input topic again. Each is marked in the same transaction, so none is sent twice.

    $ docsluice dead-letters redrive --dry-run --reason truncated
    $ docsluice dead-letters redrive --reason truncated

    Args:
        topic: send here what was first read here [default: DOCSLUICE_INPUT_TOPIC, or documents]
        dry_run: say what would be sent and what it may cost, and write nothing
        per_second: send no more than N a second
        max_replays: pass over what was sent again N times already [default: 3]
        force: pass over none for that
    """
    with which.letters(connection, input_topic=topic) as (query, settings):
        asked = Redrive(
            query=query,
            topic=settings.input_topic,
            per_second=per_second,
            most_replays=None if force else max_replays or MOST_REPLAYS,
        )
        return asyncio.run((check_redrive if dry_run else redrive)(asked))


def _export(
    *,
    to: Annotated[WrittenPath, Parameter(metavar="FILE", allow_leading_hyphen=True)],
    handled_too: All = False,
    which: Which = Which(),
    connection: Connection = HERE,
) -> int:
    """Write them to a file, to be mended and sent: docsluice send FILE.jsonl.

    $ docsluice dead-letters export --reason invalid_event --to dead.jsonl
    $ docsluice send dead.jsonl

    Args:
        to: write to FILE.jsonl, replacing the file, or - for standard output
        handled_too: also what was redriven or dropped
    """
    if to != "-" and Path(to).suffix.lower() != ".jsonl":
        raise WrongArguments(f"--to {to}: the name must end in .jsonl, or be -")
    with which.letters(connection, handled_too=handled_too) as (query, _):
        return asyncio.run(export(query, to=None if to == "-" else Path(to)))


def _drop(*, yes: bool = False, everything: bool = False, which: Which = Which(), connection: Connection = HERE) -> int:
    """Mark them as done with: neither listed nor redriven any more. The bytes go with the topic's retention.

    $ docsluice dead-letters drop --reason refused --since 2d

    Args:
        yes: do not ask; needed without a terminal
        everything: drop all of them; needed without --reason, --step, --since or --id, and wrong beside them
    """
    if which.is_narrow and everything:
        raise WrongArguments("choose one: --everything, or --reason, --step, --since and --id")
    if not (which.is_narrow or everything):
        raise WrongArguments("say which: --reason, --step, --since, --id, or --everything")
    if not (yes or sys.stdin.isatty()):
        raise WrongArguments("without a terminal to ask at, --yes must be said")
    with which.letters(connection) as (query, _):
        return drop(query, confirmed=yes)


dead_letters = App(
    name="dead-letters", help="List, show, redrive, export and drop dead letters.", group_commands=Group("Commands")
)
for _name, _function in (
    ("list", _list),
    ("show", _show),
    ("redrive", _redrive),
    ("export", _export),
    ("drop", _drop),
):
    dead_letters.command(command(_function, name=_name, exit_codes=OF_DEAD_LETTERS))
