"""What crosses the topics, for machines: JSON Schema of each message, and an AsyncAPI document of all. Pure.

The shapes are those of `docsluice.messages`. The pipeline file adds what its tasks answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from docsluice.messages import (
    ERROR_HEADER_PREFIX,
    ORIGINAL_TOPIC_HEADER,
    DeadLetterReason,
    DocumentEvent,
    DocumentResult,
    Stage,
    Usage,
)
from docsluice.result_forms import AVRO_CONTENT_TYPE, TYPES, field_names, output_name
from docsluice_consumer.analysis.avro_results import avro_schema
from docsluice_consumer.tasks.outputs import ListOutput
from docsluice_consumer.tasks.pipeline_file import PipelineFile

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_JSON = "application/json"
_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_DOLLARS = r"^[0-9]+(\.[0-9]+)?$"
_ERRORS: Mapping[str, tuple[str, Schema]] = {
    "topic": ("where the record was first read", {}),
    "partition": ("where the record was first read", {"pattern": "^[0-9]+$"}),
    "offset": ("where the record was first read", {"pattern": "^[0-9]+$"}),
    "timestamp": ("milliseconds since 1970", {"pattern": "^-?[0-9]+$"}),
    "group": ("the consumer group", {}),
    "stage": ("where it was rejected", {"enum": [one.value for one in Stage]}),
    "step": ("the task that failed, if one did", {}),
    "reason": ("why", {"enum": [one.value for one in DeadLetterReason]}),
    "document_id": ("the document's name, where an input mapping finds it", {}),
    "exception.class.name": ("the class of the exception", {}),
    "exception.message": ("what went wrong, for a person", {}),
    "exception.stacktrace": ("the last 8 KiB of the stack trace", {}),
    "attempts": ("calls of the last run", {"pattern": "^[0-9]+$"}),
    "first_failed_at": ("RFC 3339, UTC", {"format": "date-time"}),
    "last_failed_at": ("RFC 3339, UTC", {"format": "date-time"}),
    "replay_count": ("how often it was sent again", {"pattern": "^[0-9]+$"}),
    "cost_usd": ("US dollars, of all runs", {"pattern": _DOLLARS}),
    "pipeline_version": ("what was asked", {}),
    "model": ("the model that failed", {}),
    "provider": ("the provider of that model", {}),
    "answer": ("the first 2 KiB of a rejected answer", {}),
    "stub": ("which parts of the record are left out: headers, key, value", {}),
    "value_bytes": ("size of a value that was left out", {"pattern": "^[0-9]+$"}),
    "value_sha256": ("SHA-256 of a value that was left out", {"pattern": "^[0-9a-f]{64}$"}),
    "key_bytes": ("size of a key that was left out", {"pattern": "^[0-9]+$"}),
}
"""The headers of a dead letter, without their prefix."""
_ALWAYS = ("topic", "partition", "offset", "reason")


def event_schema(file: PipelineFile) -> Schema:
    """A value of the input topic. With a mapping, its form is that of the topic's own producers."""
    if file.input.is_mapping or file.input.format == "text":
        what = f"Whatever the topic's producers write. `input` of the pipeline file {file.name} says how it is read."
        return {"$schema": DIALECT, "title": "Document", "description": what}
    event = DocumentEvent.model_json_schema()
    event["properties"]["uri"] = {"type": "string", "description": "where the text is, in place of the text"}
    event["required"] = [name for name in event["required"] if name != "text"]
    one_of = [{"required": ["text"]}, {"required": ["uri"]}]
    return {"$schema": DIALECT, **event, "anyOf": one_of, "additionalProperties": not file.input.strict}


def result_schema(file: PipelineFile) -> Schema:
    """A value of the result topic, with an output for each task of the file."""
    schema = DocumentResult.model_json_schema(mode="serialization")
    outputs = {task.name: task.output.output_schema() for task in file.tasks}
    schema["properties"] |= {
        "outputs": _object(outputs, required=outputs, additionalProperties=False),
        "usage": _object(
            {name: {"type": "integer", "minimum": 0} for name in Usage.model_fields},
            required=[name for name in Usage.model_fields if name != "reasoning_tokens"],
        ),
        **{key: {"type": "string", "pattern": _DOLLARS} for key in ("cost_usd", "saved_usd")},
        **{key: {"type": "string", "format": "date-time"} for key in ("started_at", "finished_at")},
    }
    return {"$schema": DIALECT, **schema}


def published_schema(file: PipelineFile) -> Schema:
    """As `result_schema`, in the form that the pipeline file gives to results. An Avro schema where they are Avro."""
    nested = result_schema(file)
    entry = file.output
    if entry.format == "avro":
        return avro_schema({task.name: isinstance(task.output, ListOutput) for task in file.tasks}, entry.fields)
    if entry.format == "connect":
        parts = {"schema": {"type": "object"}, "payload": {"type": "object"}}
        return {"$schema": DIALECT, "title": "DocumentResult", **_object(parts, required=parts)}
    match entry.form:
        case "nested":
            return nested
        case "flat":
            return {"$schema": DIALECT, "title": "FlatDocumentResult", **_flat(nested, file, entry.fields)}
        case "merged":
            answers = {entry.answers_key: _flat(nested, file, entry.fields or [])}
            return {"$schema": DIALECT, "title": "MergedDocumentResult", **_object(answers, required=answers)}


def _flat(nested: Schema, file: PipelineFile, fields: Sequence[str] | None) -> Schema:
    own = {
        **nested["properties"],
        **nested["properties"]["usage"]["properties"],
        **{f"source_{name}": one for name, one in nested["$defs"]["SourcePosition"]["properties"].items()},
        "models": {"type": "string", "description": "JSON: the model of each task"},
    }
    properties = {name: own[name] for name in field_names() if fields is None or name in fields}
    outputs = {output_name(task.name): task.output.output_schema() for task in file.tasks}
    return _object(properties | outputs, required=[*properties, *outputs])


def dead_letter_schema() -> Schema:
    """The headers of a dead letter, each a text in UTF-8. Its key, value and other headers are the record's own."""
    headers = {
        ERROR_HEADER_PREFIX + name: {"type": "string", "description": meaning} | form
        for name, (meaning, form) in _ERRORS.items()
    }
    headers[ORIGINAL_TOPIC_HEADER] = {"type": "string", "description": "the source topic, for tools that look for it"}
    said = "Headers in UTF-8. The key, the value and the other headers of a dead letter are the record's own."
    required = [ERROR_HEADER_PREFIX + name for name in _ALWAYS]
    return {
        "$schema": DIALECT,
        "title": "DeadLetterHeaders",
        "description": said,
        **_object(headers, required=required),
    }


def asyncapi(
    file: PipelineFile, *, servers: str, group_id: str, input_topic: str, result_topic: str, dead_letter_topic: str
) -> Schema:
    """An AsyncAPI 3.0 document of the service: what it receives, and what it sends."""
    routed = {f"results{number}": topic for number, topic in enumerate(file.output.topics, 1) if topic != result_topic}
    topics = {"documents": input_topic, "results": result_topic, "deadLetters": dead_letter_topic, **routed}
    messages = {"documents": "DocumentEvent", "deadLetters": "DeadLetter"} | dict.fromkeys(
        ("results", *routed), "DocumentResult"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"docsluice: {file.name}",
            "version": "1",
            "description": "Runs LLM tasks on each document of a topic. Results and dead letters are topics, too.",
        },
        "defaultContentType": _JSON,
        "servers": {
            f"kafka{number or ''}": {"host": host.strip(), "protocol": "kafka"}
            for number, host in enumerate(servers.split(","))
        },
        "channels": {
            name: {
                "address": address,
                "messages": {messages[name]: {"$ref": f"#/components/messages/{messages[name]}"}},
            }
            for name, address in topics.items()
        },
        "operations": {
            "analyzeDocument": _operation("receive", "documents", bindings={"kafka": {"groupId": _only(group_id)}}),
            "publishResult": _operation("send", "results"),
            "publishDeadLetter": _operation("send", "deadLetters"),
            **{f"publish{name.capitalize()}": _operation("send", name) for name in routed},
        },
        "components": {"messages": _messages(file)},
    }


def _object(properties: Schema, *, required: Iterable[str], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _operation(action: str, channel: str, **more: Any) -> Schema:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, **more}


def _messages(file: PipelineFile) -> Schema:
    published, is_avro = published_schema(file), file.output.format == "avro"
    content_type = AVRO_CONTENT_TYPE.decode() if is_avro else _JSON
    return {
        "DocumentEvent": {"title": "A document to analyze", "payload": _embedded(event_schema(file))},
        "DocumentResult": {
            "title": "What the tasks answered, and what it cost",
            "contentType": content_type,
            "headers": {
                "type": "object",
                "properties": {
                    "ce_specversion": _only("1.0"),
                    "ce_type": _only(TYPES[file.output.form]),
                    **{name: {"type": "string"} for name in ("ce_id", "ce_source", "ce_subject", "ce_time")},
                    "content-type": _only(content_type),
                },
            },
            "payload": {"schemaFormat": _AVRO, "schema": published} if is_avro else _embedded(published),
        },
        "DeadLetter": {
            "title": "A record that could not be analyzed, as it came, with headers that say why",
            "headers": _embedded(dead_letter_schema()),
            "payload": {"description": "The record's own value, byte for byte."},
        },
    }


def _only(value: str) -> Schema:
    return {"type": "string", "enum": [value]}


def _embedded(schema: Schema) -> Schema:
    """A schema inside a document, its definitions in their places: a reference would mean the document's root."""
    definitions = schema.get("$defs", {})

    def placed(part: Any) -> Any:
        if isinstance(part, list):
            return [placed(one) for one in part]
        if not isinstance(part, dict):
            return part
        name = str(part.get("$ref", "")).removeprefix("#/$defs/")
        if name in definitions:
            return placed(definitions[name] | {key: value for key, value in part.items() if key != "$ref"})
        return {key: placed(value) for key, value in part.items() if key not in {"$schema", "$defs"}}

    embedded: Schema = placed(schema)
    return embedded
