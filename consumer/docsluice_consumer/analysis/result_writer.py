"""How a result is written, and to which topic. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from docsluice.messages import DocumentResult
from docsluice.result_forms import AVRO_CONTENT_TYPE, KEY_HEADER, TYPES, Form, flat, for_connect, merged
from docsluice.text.ascii_json import compact
from docsluice_consumer.analysis.avro_results import AvroResults


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWriter:
    """The form of results and their topics, as the pipeline file has them in `output`."""

    topic: str
    form: Form = "nested"
    with_schema: bool = False
    """Whether each value has its schema with it, as Kafka Connect's JsonConverter reads it."""
    avro: AvroResults | None = None
    """How values are written in Avro, if they are."""
    key: str = ""
    """Under which field of a merged result the answers are."""
    fields: Sequence[str] | None = None
    """The fields of a flat or merged result beside its outputs. None: all of a flat one, and none of a merged one."""
    routes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By task and answer, the topic of such results."""

    def value(self, result: DocumentResult, document: Any) -> bytes:
        """The value of the result's record. `document` is the JSON that the document came in, or its text."""
        if self.form == "nested":
            return result.model_dump_json().encode()
        if self.form == "merged":
            return compact(merged(result, document, key=self.key, fields=self.fields or ())).encode()
        if self.avro is not None:
            return self.avro.value(result, topic=self.topic_of(result), fields=self.fields)
        return compact((for_connect if self.with_schema else flat)(result, fields=self.fields)).encode()

    def headers(self) -> list[tuple[str, bytes]]:
        """What the result's headers say about the form, in the place of the nested form's."""
        if self.form == "nested":
            return []
        key = [(KEY_HEADER, self.key.encode())] if self.form == "merged" else []
        content_type = [("content-type", AVRO_CONTENT_TYPE)] if self.avro is not None else []
        return [("ce_type", TYPES[self.form].encode()), *key, *content_type]

    def topic_of(self, result: DocumentResult) -> str:
        """The topic of the first route that an answer takes. Without one, that of all results."""
        for task, topics in self.routes.items():
            answer = result.outputs.get(task)
            for said in answer if isinstance(answer, list) else [answer]:
                if isinstance(said, str) and said in topics:
                    return topics[said]
        return self.topic
