"""The commands `send` and `follow`: documents in, outcomes out."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from docsluice.cli.output import WrongArguments
from docsluice.cli.page import command
from docsluice.cli.usage import no_flag
from docsluice_producer.command_line.exits import OF_FOLLOW, OF_SEND
from docsluice_producer.command_line.flags import (
    Age,
    AsJson,
    Count,
    Name,
    Seconds,
    Topic,
    Urls,
    WrittenPath,
    choose_one,
    in_groups,
    one,
)
from docsluice_producer.documents.sources import Format, select
from docsluice_producer.following.follow import Following
from docsluice_producer.following.follow import follow as follow_topics
from docsluice_producer.following.reader import Start
from docsluice_producer.kafka.connection_flags import Connection
from docsluice_producer.metrics.sample import PIPELINE_VERSION
from docsluice_producer.sending.results import IfChanged
from docsluice_producer.sending.send import Destination, Sending
from docsluice_producer.sending.send import dry_run as check_rows
from docsluice_producer.sending.send import send as send_documents
from docsluice_producer.sending.version import metrics_urls

_PARTITIONS = 6
_DOCUMENTS, _CHANGED, _TOPIC = in_groups("The documents", "Only what has no result yet", "The topic")
_BOUNDS, _OUTPUT, _TOPICS = in_groups("From when, until when", "The output", "The topics")
_ONE_VERSION, _ONE_START = choose_one(_CHANGED), choose_one(_BOUNDS)
_PATH = Parameter(name="PATH", required=True, allow_leading_hyphen=True, validator=no_flag)


def _version(text: str) -> str:
    # Under a misspelt version nothing is done, and all would be sent and paid for again.
    if not PIPELINE_VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no pipeline version: 12 digits and letters from a to f")
    return text


def _send(
    *paths: Annotated[WrittenPath, _DOCUMENTS, _PATH],
    other_format: Annotated[Format | None, _DOCUMENTS, Parameter(name="--format", metavar="FORMAT")] = None,
    id_field: Annotated[Name, _DOCUMENTS] = "document_id",
    text_field: Annotated[Name, _DOCUMENTS] = "text",
    limit: Annotated[Count | None, _DOCUMENTS] = None,
    dry_run: Annotated[bool, _DOCUMENTS] = False,
    if_changed: Annotated[bool, _CHANGED] = False,
    pipeline_version: Annotated[str | None, _ONE_VERSION, Parameter(metavar="V", converter=one(_version))] = None,
    metrics_url: Annotated[Urls, _ONE_VERSION] = (),
    result_topic: Annotated[Topic | None, _CHANGED] = None,
    topic: Annotated[Topic | None, _TOPIC] = None,
    create_topic: Annotated[bool, _TOPIC] = False,
    partitions: Annotated[Count | None, _TOPIC] = None,
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
        other_format: read files with other suffixes, and standard input, as this [default: jsonl for standard input]
        id_field: take the id from this column
        text_field: take the text from this column
        limit: send no more than N documents [default: all]
        dry_run: check every row and say what would be sent; only --if-changed needs a broker for it
        if_changed: pass over documents that have a result: of the same id and text, under the pipeline version that the
            consumers run; reads the whole result topic first
        pipeline_version: with --if-changed: count results of this version, which `docsluice check` shows
            [default: ask a consumer]
        metrics_url: with --if-changed: ask this consumer for its version; once for each replica [default: the one on
            this machine, at DOCSLUICE_HTTP_PORT or 9464]
        result_topic: with --if-changed: the results are here [default: DOCSLUICE_RESULT_TOPIC, or documents.results]
        topic: send to this topic [default: DOCSLUICE_INPUT_TOPIC, or documents]
        create_topic: make the topic if it is not there, which is an error otherwise
        partitions: with --create-topic: make it with N partitions [default: 6]
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
    with connection.settings(input_topic=topic, result_topic=result_topic) as (settings, broker):
        sending = Sending(
            selection=select([str(path) for path in paths], other_format=other_format),
            id_field=id_field,
            text_field=text_field,
            topic=settings.input_topic,
            limit=limit,
            if_changed=None,
        )
        if if_changed:
            changed = IfChanged(
                broker=broker,
                result_topic=settings.result_topic,
                wait_seconds=connection.wait_seconds,
                version=pipeline_version or metrics_urls(settings.http_port, given=metrics_url),
            )
            sending = replace(sending, if_changed=changed)
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
    from_beginning: Annotated[bool, _ONE_START] = False,
    since: Annotated[Age | None, _ONE_START] = None,
    until: Annotated[Count | None, _BOUNDS] = None,
    timeout_seconds: Annotated[Seconds | None, _BOUNDS] = None,
    to: Annotated[Path | None, _OUTPUT, Parameter(metavar="FILE")] = None,
    as_json: Annotated[AsJson, _OUTPUT] = False,
    metrics_url: Annotated[Urls, _OUTPUT] = (),
    result_topic: Annotated[Topic | None, _TOPICS] = None,
    dead_letter_topic: Annotated[Topic | None, _TOPICS] = None,
    connection: Connection = Connection(),
) -> int:
    """Show results and dead letters as they come.

    $ docsluice follow
    $ docsluice follow --from-beginning --to results.csv
    $ docsluice follow --since 1h --json | jq .outputs.summary

    Reads committed records only, and without a consumer group: it takes nothing from anybody.

    Args:
        from_beginning: begin with the oldest, instead of from now on
        since: begin so long ago: 30s, 10m, 2h, 1d [default: from now on]
        until: end once N documents have ended, well or not [default: never]
        timeout_seconds: end after S seconds in any case [default: never]
        to: also write each outcome to FILE.jsonl or FILE.csv, replacing the file [default: none]
        as_json: print the lines that a .jsonl would hold, and everything else on standard error
        metrics_url: also say what limits the consumers now, from the metrics of a replica; once for each of them
            [default: none]
        result_topic: read results here [default: DOCSLUICE_RESULT_TOPIC, or documents.results]
        dead_letter_topic: read dead letters here [default: DOCSLUICE_DEAD_LETTER_TOPIC, or documents.dlq]
    """
    with connection.settings(result_topic=result_topic, dead_letter_topic=dead_letter_topic) as (settings, broker):
        following = Following(
            broker=broker,
            topics=(settings.result_topic, settings.dead_letter_topic),
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
