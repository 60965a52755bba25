"""The flags that say what `follow` reads, and whose documents it waits for."""

from dataclasses import dataclass

from cyclopts import Group, Parameter

from docsluice_producer.command_line.flags import Name, Topic, Topics


@Parameter(name="*", group=Group("The topics", sort_key=2))
@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFlags:
    """Where outcomes are, and where the documents come from.

    Attributes:
        result_topic: read results here, several times for results that are routed [default: DOCSLUICE_RESULT_TOPIC, or
            documents.results]
        dead_letter_topic: read dead letters here [default: DOCSLUICE_DEAD_LETTER_TOPIC, or documents.dlq]
        input_topic: for --until-complete, the topic of the documents [default: DOCSLUICE_INPUT_TOPIC, or documents]
        group_id: for --until-complete, the group that analyzes them [default: DOCSLUICE_GROUP_ID, or docsluice]
    """

    result_topic: Topics = ()
    dead_letter_topic: Topic | None = None
    input_topic: Topic | None = None
    group_id: Name | None = None
