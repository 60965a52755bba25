"""The flags of `send`, in the groups that `--help` has."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from docsluice.cli.output import WrongArguments
from docsluice.kafka.broker import Broker
from docsluice.settings.shared_settings import SharedSettings
from docsluice_producer.command_line.flags import Count, Name, Topic, Urls, choose_one, in_groups, one
from docsluice_producer.documents.sources import Format
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


@Parameter.combine(DOCUMENTS, Parameter(name="*"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """How rows are read, and how many.

    Attributes:
        other_format: read files with other suffixes, and standard input, as this [default: jsonl for standard input]
        id_field: take the id from this column
        text_field: take the text from this column
        limit: send no more than N documents [default: all]
        dry_run: check every row and say what would be sent; only --if-changed needs a broker for it
    """

    other_format: Annotated[Format | None, Parameter(name="--format", metavar="FORMAT")] = None
    id_field: Name = "document_id"
    text_field: Name = "text"
    limit: Count | None = None
    dry_run: bool = False


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
