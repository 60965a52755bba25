"""The commands `send` and `follow`: documents in, outcomes out."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from docsluice.cli.page import command
from docsluice.cli.usage import no_flag
from docsluice.documents.sources import select
from docsluice.kafka.reader import Start
from docsluice_producer.command_line.exits import OF_FOLLOW, OF_SEND
from docsluice_producer.command_line.flags import (
    Age,
    AsJson,
    Count,
    Seconds,
    Urls,
    WrittenPath,
    choose_one,
    in_groups,
)
from docsluice_producer.following.follow import Documents, Following
from docsluice_producer.following.follow import follow as follow_topics
from docsluice_producer.following.topic_flags import TopicFlags
from docsluice_producer.following.wanted import Wanted, condition
from docsluice_producer.kafka.connection_flags import Connection
from docsluice_producer.sending.send import Sending
from docsluice_producer.sending.send import dry_run as check_rows
from docsluice_producer.sending.send import send as send_documents
from docsluice_producer.sending.send_flags import DOCUMENTS, Changed, Rows, Target

_BOUNDS, _OUTPUT = in_groups("From when, until when", "The output")
_ONE_START = choose_one(_BOUNDS)
_PATH = Parameter(name="PATH", required=True, allow_leading_hyphen=True, validator=no_flag)


def _send(
    *paths: Annotated[WrittenPath, DOCUMENTS, _PATH],
    rows: Rows = Rows(),
    changed: Changed = Changed(),
    target: Target = Target(),
    connection: Connection = Connection(),
) -> int:
    """Send documents to the input topic.

    $ docsluice send reports/ more.jsonl
    $ docsluice send --if-changed texts/
    $ docsluice send --resume very-many.jsonl.gz
    $ gzip -dc lines.jsonl.gz | docsluice send -

    A bad row or file is reported, and the rest is sent. PDF, Office, HTML, e-mail and Parquet files need
    pip install 'docsluice[files]'.

    Args:
        paths: a folder, all of it; a .txt, .md, .html, .pdf, .docx, .pptx, .xlsx, .eml, .csv, .tsv, .json, .jsonl,
            .ndjson or .parquet file, packed (.gz, .bz2, .xz, .zst) or not; or - for standard input
    """
    rows.check([str(path) for path in paths])
    target.check()
    changed.check()
    with connection.settings(input_topic=target.topic, result_topic=changed.result_topic) as (settings, broker):
        sending = Sending(
            selection=select([str(path) for path in paths], other_format=rows.other_format),
            options=rows.options,
            topic=settings.input_topic,
            limit=rows.limit,
            per_second=rows.rate,
            resume=rows.resume,
            if_changed=changed.results(settings),
        )
        destination = target.destination(broker, wait_seconds=connection.wait_seconds)
        return check_rows(sending, destination) if rows.dry_run else asyncio.run(send_documents(sending, destination))


def _follow(
    *,
    from_beginning: Annotated[bool, _ONE_START] = False,
    since: Annotated[Age | None, _ONE_START] = None,
    until: Annotated[Count | None, _BOUNDS] = None,
    until_complete: Annotated[bool, _BOUNDS, Parameter(negative=())] = False,
    timeout_seconds: Annotated[Seconds | None, _BOUNDS] = None,
    failed: Annotated[bool, _OUTPUT, Parameter(negative=())] = False,
    where: Annotated[str | None, _OUTPUT, Parameter(metavar="CONDITION")] = None,
    to: Annotated[Path | None, _OUTPUT, Parameter(metavar="FILE")] = None,
    as_json: Annotated[AsJson, _OUTPUT] = False,
    metrics_url: Annotated[Urls, _OUTPUT] = (),
    topics: TopicFlags = TopicFlags(),
    connection: Connection = Connection(),
) -> int:
    """Show results and dead letters as they come.

    $ docsluice follow
    $ docsluice follow --until-complete --to results.parquet
    $ docsluice follow --since 1h --json | jq .outputs.summary

    Reads committed records only, and without a consumer group: it takes nothing from anybody.

    Args:
        from_beginning: begin with the oldest, instead of from now on
        since: begin so long ago: 30s, 10m, 2h, 1d [default: from now on]
        until: end once N documents have ended, well or not [default: never]
        until_complete: end once the consumer group has ended every document that is in the input topic now; begins with
            the oldest outcome, unless --since says otherwise
        timeout_seconds: end after S seconds in any case [default: never]
        failed: show, count and write dead letters only
        where: show, count and write only outcomes that this JMESPath condition on a line of --json holds for, such as
            "outputs.category == 'tech'" [default: all]
        to: also write each outcome to FILE.jsonl, FILE.csv or FILE.parquet, replacing the file [default: none]
        as_json: print the lines that a .jsonl would hold, and everything else on standard error
        metrics_url: also say what limits the consumers now, from the metrics of a replica; once for each of them
            [default: none]
    """
    with connection.settings(
        dead_letter_topic=topics.dead_letter_topic, input_topic=topics.input_topic, group_id=topics.group_id
    ) as (
        settings,
        broker,
    ):
        following = Following(
            broker=broker,
            topics=(*(topics.result_topic or (settings.result_topic,)), settings.dead_letter_topic),
            start=Start(from_beginning=from_beginning or (until_complete and since is None), since=since),
            wait_seconds=connection.wait_seconds,
            until=until,
            until_complete=Documents(settings.input_topic, settings.group_id) if until_complete else None,
            wanted=Wanted(only_failed=failed, where=condition(where) if where else None),
            timeout_seconds=timeout_seconds,
            to=to,
            as_json=as_json,
            metrics_urls=metrics_url,
        )
        return asyncio.run(follow_topics(following))


send = command(_send, name="send", exit_codes=OF_SEND)
follow = command(_follow, name="follow", exit_codes=OF_FOLLOW)
