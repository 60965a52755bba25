"""The flags of `send`, in the groups that `--help` has."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from docsluice.cli.output import WrongArguments
from docsluice.documents.entries import ReadOptions
from docsluice.documents.kinds import Format
from docsluice.documents.sources import STDIN
from docsluice.kafka.broker import Broker
from docsluice.settings.shared_settings import SharedSettings
from docsluice_producer.command_line.flags import Count, Name, Names, Topic, Urls, choose_one, in_groups, one
from docsluice_producer.metrics.sample import PIPELINE_VERSION
from docsluice_producer.sending.results import IfChanged
from docsluice_producer.sending.send import Destination
from docsluice_producer.sending.version import metrics_urls

DOCUMENTS, _CHANGED, _TOPIC = in_groups("The documents", "Only what has no result yet", "The topic")
_ONE_VERSION = choose_one(_CHANGED)
_PARTITIONS = 6


def _version(text: str) -> str:
    # Under a misspelt version nothing is done, and all would be sent and paid for again.
    if not PIPELINE_VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no pipeline version: 12 digits and letters from a to f")
    return text


def _delimiter(text: str) -> str:
    sign = "\t" if text == "\\t" else text
    if len(sign) != 1 or sign in '"\r\n':
        raise ValueError(f"{text!r} is no sign between cells: one character, or \\t for a tab")
    return sign


def _encoding(text: str) -> str:
    # Python's own conversions, such as hex, are no encodings of text.
    try:
        "".encode(text)
        return codecs.lookup(text).name
    except (LookupError, ValueError):
        raise ValueError(f"{text!r} is no encoding such as utf-8, windows-1252 or shift_jis") from None


@Parameter.combine(DOCUMENTS, Parameter(name="*"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    r"""How rows are read, and how many.

    Attributes:
        other_format: read files with other suffixes, and standard input, as this [default: jsonl for standard input]
        id_field: take the id from this column
        text_field: take the text from this column
        metadata_field: of the other columns, send this one as metadata; once for each of them [default: all]
        delimiter: the sign between the cells of a CSV; \t is a tab [default: told by the header]
        encoding: read texts in this encoding, such as windows-1252 [default: detected]
        limit: send no more than N documents [default: all]
        rate: send no more than N documents a second [default: as fast as the broker takes them]
        resume: go on where an earlier send --resume of the same PATHs ended, however it did: each document is sent once
        dry_run: check every row and say what would be sent; only --if-changed needs a broker for it
    """

    other_format: Annotated[Format | None, Parameter(name="--format", metavar="FORMAT")] = None
    id_field: Name = "document_id"
    text_field: Name = "text"
    metadata_field: Names = ()
    delimiter: Annotated[str | None, Parameter(metavar="SIGN", converter=one(_delimiter))] = None
    encoding: Annotated[str | None, Parameter(metavar="NAME", converter=one(_encoding))] = None
    limit: Count | None = None
    rate: Count | None = None
    resume: bool = False
    dry_run: bool = False

    def check(self, paths: Sequence[str]) -> None:
        """Refuse what cannot be resumed.

        Raises:
            WrongArguments: it is standard input, or nothing is sent.
        """
        if self.resume and STDIN in paths:
            raise WrongArguments("--resume is for files: standard input cannot be read again")
        if self.resume and self.dry_run:
            raise WrongArguments("--resume is for sending, and --dry-run sends nothing")

    @property
    def options(self) -> ReadOptions:
        """How rows become documents."""
        return ReadOptions(
            id_field=self.id_field,
            text_field=self.text_field,
            metadata_fields=self.metadata_field or None,
            delimiter=self.delimiter,
            encoding=self.encoding,
        )


@Parameter.combine(_CHANGED, Parameter(name="*"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Whether documents that have a result are passed over, and whose results count.

    Attributes:
        if_changed: pass over documents that have a result: of the same id and text, under the pipeline version that the
            consumers run; reads the whole result topic first
        pipeline_version: with --if-changed: count results of this version, which `docsluice check` shows
            [default: ask a consumer]
        metrics_url: with --if-changed: ask this consumer for its version; once for each replica [default: the one on
            this machine, at DOCSLUICE_HTTP_PORT or 9464]
        result_topic: with --if-changed: the results are here [default: DOCSLUICE_RESULT_TOPIC, or documents.results]
    """

    if_changed: bool = False
    pipeline_version: Annotated[str | None, _ONE_VERSION, Parameter(metavar="V", converter=one(_version))] = None
    metrics_url: Annotated[Urls, _ONE_VERSION] = ()
    result_topic: Topic | None = None

    def check(self) -> None:
        """Refuse flags that mean nothing without `--if-changed`.

        Raises:
            WrongArguments: there is one.
        """
        flags = {"pipeline-version": self.pipeline_version, "metrics-url": self.metrics_url}
        for flag, value in {**flags, "result-topic": self.result_topic}.items():
            if value and not self.if_changed:
                raise WrongArguments(f"--{flag} is for --if-changed: say that too")

    def results(self, settings: SharedSettings) -> IfChanged | None:
        """Where the results are that count. None without `--if-changed`.

        Raises:
            WrongUsage: it is unknown which consumer to ask for its version.
        """
        if not self.if_changed:
            return None
        return IfChanged(
            result_topic=settings.result_topic,
            version=self.pipeline_version or metrics_urls(settings.http_port, given=self.metrics_url),
        )


@Parameter.combine(_TOPIC, Parameter(name="*"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The topic, and whether it is made.

    Attributes:
        topic: send to this topic [default: DOCSLUICE_INPUT_TOPIC, or documents]
        create_topic: make the topic if it is not there, which is an error otherwise
        partitions: with --create-topic: make it with N partitions [default: 6]
    """

    topic: Topic | None = None
    create_topic: bool = False
    partitions: Count | None = None

    def check(self) -> None:
        """Refuse a number of partitions for a topic that is not made.

        Raises:
            WrongArguments: there is one.
        """
        if self.partitions and not self.create_topic:
            raise WrongArguments("--partitions is for a topic that is made: say --create-topic too")

    def destination(self, broker: Broker, *, wait_seconds: float) -> Destination:
        """How the topic is reached, and made."""
        partitions = (self.partitions or _PARTITIONS) if self.create_topic else None
        return Destination(broker=broker, wait_seconds=wait_seconds, create_partitions=partitions)
