"""The commands `send` and `follow`: documents in, outcomes out."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from docsluice.cli.output import WrongArguments
from docsluice.cli.page import command
from docsluice.cli.usage import no_flag, one_at_most
from docsluice_producer.command_line.exits import OF_FOLLOW, OF_SEND
from docsluice_producer.command_line.flags import Age, Count, Seconds, Topic, Urls, one
from docsluice_producer.documents.sources import Format, select
from docsluice_producer.following.follow import Following
from docsluice_producer.following.follow import follow as follow_topics
from docsluice_producer.following.reader import Start
from docsluice_producer.kafka.connection_flags import Connection
from docsluice_producer.kafka.topics import checked_name
from docsluice_producer.metrics.sample import PIPELINE_VERSION
from docsluice_producer.sending.results import IfChanged
from docsluice_producer.sending.send import Destination, Sending
from docsluice_producer.sending.send import dry_run as check_rows
from docsluice_producer.sending.send import send as send_documents
from docsluice_producer.sending.version import metrics_urls

_PARTITIONS = 6
_DOCUMENTS = Group("The documents", sort_key=1)
_CHANGED = Group("Only what has no result yet", sort_key=2)
_TOPIC = Group("The topic", sort_key=3)
_BOUNDS = Group("From when, until when", sort_key=1)
_OUTPUT = Group("The output", sort_key=2)
_TOPICS = Group("The topics", sort_key=3)
_ONE_VERSION = Group(validator=one_at_most)
_ONE_START = Group(validator=one_at_most)

_INPUT = "DOCSLUICE_INPUT_TOPIC, or documents"
_RESULTS = "DOCSLUICE_RESULT_TOPIC, or documents.results"
_DEAD = "DOCSLUICE_DEAD_LETTER_TOPIC, or documents.dlq"


def _version(text: str) -> str:
    # Under a misspelt version nothing is done, and all would be sent and paid for again.
    if not PIPELINE_VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no pipeline version: 12 digits and letters from a to f")
    return text


def _send(
    *paths: Annotated[
        str,
        Parameter(name="PATH", group=_DOCUMENTS, required=True, allow_leading_hyphen=True, validator=no_flag),
    ],
    other_format: Annotated[
        Format | None,
        Parameter(name="--format", group=_DOCUMENTS, metavar="FORMAT", show_default="jsonl for standard input"),
    ] = None,
    id_field: Annotated[str, Parameter(group=_DOCUMENTS, metavar="NAME")] = "document_id",
    text_field: Annotated[str, Parameter(group=_DOCUMENTS, metavar="NAME")] = "text",
    limit: Annotated[Count | None, Parameter(group=_DOCUMENTS, show_default="all")] = None,
    dry_run: Annotated[bool, Parameter(group=_DOCUMENTS)] = False,
    if_changed: Annotated[bool, Parameter(group=_CHANGED)] = False,
    pipeline_version: Annotated[
        str | None,
        Parameter(group=(_CHANGED, _ONE_VERSION), metavar="V", converter=one(_version), show_default="ask a consumer"),
    ] = None,
    metrics_url: Annotated[
        Urls,
        Parameter(
            group=(_CHANGED, _ONE_VERSION), show_default="the one on this machine, at DOCSLUICE_HTTP_PORT or 9464"
        ),
    ] = (),
    result_topic: Annotated[Topic | None, Parameter(group=_CHANGED, show_default=_RESULTS)] = None,
    topic: Annotated[Topic | None, Parameter(group=_TOPIC, show_default=_INPUT)] = None,
    create_topic: Annotated[bool, Parameter(group=_TOPIC)] = False,
    partitions: Annotated[Count | None, Parameter(group=_TOPIC, show_default=str(_PARTITIONS))] = None,
    connection: Connection = Connection(),
) -> int:
    """Send documents to the input topic.

    $ docsluice send texts/ more.jsonl
    $ docsluice send --if-changed texts/
    $ gzip -dc lines.jsonl.gz | docsluice send -

    A bad row is reported with file and line, and the rest is sent.

    Args:
        paths: a folder (its .txt and .md are read), a .txt, .md, .jsonl, .ndjson, .json or .csv file, or - for standard
            input
        other_format: read files with other suffixes, and standard input, as this
        id_field: take the id from this column
        text_field: take the text from this column
        limit: send no more than N documents
        dry_run: check every row and say what would be sent; only --if-changed needs a broker for it
        if_changed: pass over documents that have a result: of the same id and text, under the pipeline version that the
            consumers run; reads the whole result topic first
        pipeline_version: with --if-changed: count results of this version, which `docsluice check` shows
        metrics_url: with --if-changed: ask this consumer for its version; once for each replica
        result_topic: with --if-changed: the results are here
        topic: send to this topic
        create_topic: make the topic if it is not there, which is an error otherwise
        partitions: with --create-topic: make it with N partitions
    """
    if partitions and not create_topic:
        raise WrongArguments("--partitions is for a topic that is made: say --create-topic too")
    for flag, value in (
        ("--pipeline-version", pipeline_version),
        ("--metrics-url", metrics_url),
        ("--result-topic", result_topic),
    ):
        if value and not if_changed:
            raise WrongArguments(f"{flag} is for --if-changed: say that too")
    with connection.settings() as (environment, broker):
        changed = (
            IfChanged(
                broker=broker,
                result_topic=checked_name(
                    result_topic or environment.get("DOCSLUICE_RESULT_TOPIC", "documents.results")
                ),
                wait_seconds=connection.wait_seconds,
                version=pipeline_version or metrics_urls(environment, given=metrics_url),
            )
            if if_changed
            else None
        )
        sending = Sending(
            selection=select(paths, other_format=other_format),
            id_field=id_field,
            text_field=text_field,
            topic=checked_name(topic or environment.get("DOCSLUICE_INPUT_TOPIC", "documents")),
            limit=limit,
            if_changed=changed,
        )
        if dry_run:
            return check_rows(sending)
        destination = Destination(
            broker=broker,
            wait_seconds=connection.wait_seconds,
            create_partitions=(partitions or _PARTITIONS) if create_topic else None,
        )
        return asyncio.run(send_documents(sending, destination))


def _follow(
    *,
    from_beginning: Annotated[bool, Parameter(group=(_BOUNDS, _ONE_START))] = False,
    since: Annotated[Age | None, Parameter(group=(_BOUNDS, _ONE_START), show_default="from now on")] = None,
    until: Annotated[Count | None, Parameter(group=_BOUNDS, show_default="never")] = None,
    timeout_seconds: Annotated[Seconds | None, Parameter(group=_BOUNDS, show_default="never")] = None,
    to: Annotated[Path | None, Parameter(group=_OUTPUT, metavar="FILE", show_default="none")] = None,
    as_json: Annotated[bool, Parameter(name="--json", group=_OUTPUT)] = False,
    metrics_url: Annotated[Urls, Parameter(group=_OUTPUT, show_default="none")] = (),
    result_topic: Annotated[Topic | None, Parameter(group=_TOPICS, show_default=_RESULTS)] = None,
    dead_letter_topic: Annotated[Topic | None, Parameter(group=_TOPICS, show_default=_DEAD)] = None,
    connection: Connection = Connection(),
) -> int:
    """Show results and dead letters as they come.

    $ docsluice follow
    $ docsluice follow --from-beginning --to results.csv
    $ docsluice follow --since 1h --json | jq .outputs.summary

    Reads committed records only, and without a consumer group: it takes nothing from anybody.

    Args:
        from_beginning: begin with the oldest, instead of from now on
        since: begin so long ago: 30s, 10m, 2h, 1d
        until: end once N documents have ended, well or not
        timeout_seconds: end after S seconds in any case
        to: also write each outcome to FILE.jsonl or FILE.csv, replacing the file
        as_json: print the lines that a .jsonl would hold, and everything else on standard error
        metrics_url: also say what limits the consumers now, from the metrics of a replica; once for each of them
        result_topic: read results here
        dead_letter_topic: read dead letters here
    """
    with connection.settings() as (environment, broker):
        results = result_topic or environment.get("DOCSLUICE_RESULT_TOPIC", "documents.results")
        dead_letters = dead_letter_topic or environment.get("DOCSLUICE_DEAD_LETTER_TOPIC", "documents.dlq")
        following = Following(
            broker=broker,
            topics=(checked_name(results), checked_name(dead_letters)),
            start=Start(from_beginning=from_beginning, since=since),
            wait_seconds=connection.wait_seconds,
            until=until,
            timeout_seconds=timeout_seconds,
            to=to,
            as_json=as_json,
            metrics_urls=metrics_url,
        )
        return asyncio.run(follow_topics(following))


send = command(_send, name="send", exit_codes=OF_SEND)
follow = command(_follow, name="follow", exit_codes=OF_FOLLOW)
