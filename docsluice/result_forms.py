"""The forms in which a result is published: nested, flat, or merged into its document. Pure.

The type of the CloudEvent names the form, so a reader knows it before it reads the value.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeAlias

from docsluice.connect_json import METADATA, enveloped, opened
from docsluice.messages import RESULT_TYPE, DocumentResult, Headers, SourcePosition, Usage
from docsluice.text.ascii_json import compact

Form: TypeAlias = Literal["nested", "flat", "merged"]

TYPES: Final[Mapping[Form, str]] = {
    "nested": RESULT_TYPE,
    "flat": "docsluice.document.analyzed.flat.v1",
    "merged": "docsluice.document.analyzed.merged.v1",
}
AVRO_CONTENT_TYPE: Final = b"application/avro"
KEY_HEADER: Final = "docsluice-key"
"""Under which field of a merged value the answers are."""
WHOLE: Final = "value"
"""The field of a merged value that holds a document which is no JSON object."""
_SOURCE: Final = "source_"
_METADATA: Final = f"{METADATA}_"
_OUTPUT: Final = "outputs_"


def field_names() -> list[str]:
    """The fields of a flat result beside its outputs and its metadata, in their order."""
    names: list[str] = []
    for name in DocumentResult.model_fields:
        match name:
            case "outputs" | "metadata" | "long" | "usage_by_task":
                continue
            case "usage":
                names += Usage.model_fields
            case "source":
                names += [f"{_SOURCE}{part}" for part in SourcePosition.model_fields]
            case _:
                names.append(name)
    return names


def flat(result: DocumentResult, *, fields: Collection[str] | None = None) -> dict[str, Any]:
    """The result in one level: `summary`, `input_tokens`, `source_offset`, `metadata_customer`.

    `fields` are those of `field_names` that are wanted, all without it. Outputs and metadata always are. An output with
    a name that is taken becomes `outputs_NAME`.
    """
    published = result.model_dump(mode="json")
    own = {
        **published,
        **{name: getattr(result.usage, name) for name in Usage.model_fields},
        **{f"{_SOURCE}{name}": value for name, value in published["source"].items()},
        "models": compact(published["models"]),
    }
    known = field_names()
    wanted = known if fields is None else [name for name in known if name in fields]
    outputs = {output_name(name): value for name, value in published["outputs"].items()}
    metadata = {f"{_METADATA}{name}": value for name, value in result.metadata.items()}
    return {**{name: own[name] for name in wanted}, **outputs, **metadata}


def output_name(task: str) -> str:
    """The field of a task's output in a flat result. A name that is taken gets `outputs_` before it."""
    taken = task in {METADATA, *field_names()} or task.startswith((_METADATA, _OUTPUT))
    return _OUTPUT + task if taken else task


def for_connect(result: DocumentResult, *, fields: Collection[str] | None = None) -> dict[str, Any]:
    """The result as `flat` has it, with its schema, but the metadata in one field.

    Their names are a stranger's, and a sink makes names of columns of what has a field of its own.
    """
    rest = flat(result.model_copy(update={"metadata": {}}), fields=fields)
    return enveloped({**rest, METADATA: result.metadata})


def merged(result: DocumentResult, document: Any, *, key: str, fields: Collection[str] = ()) -> dict[str, Any]:
    """The document as it came, with the answers under `key`, and `fields` of the result beside them.

    A field of that name is replaced, as that of an earlier analysis. A document that is no object becomes the field
    `value` of one.
    """
    answers = flat(result.model_copy(update={"metadata": {}}), fields=fields)
    return {**(document if isinstance(document, dict) else {WHOLE: document}), key: answers}


def form_of(headers: Headers) -> Form:
    """The form of a published result. Without a type that says otherwise, it is nested."""
    said = next((value for name, value in headers if name == "ce_type"), None) or b""
    return next((form for form, name in TYPES.items() if name.encode() == said), "nested")


def nested_fields(value: Any, headers: Headers, *, read_at: SourcePosition) -> Any:
    """The fields of a nested result, as far as a flat or merged value has them. A nested value is returned as it is.

    Fields that were left out are those of the CloudEvent, or empty.

    Raises:
        ValueError: it is of no such form.
    """
    form = form_of(headers)
    value = value if form == "nested" else opened(value)
    if form == "nested" or not isinstance(value, dict):
        return value
    said = {name: (given or b"").decode(errors="replace") for name, given in headers}
    answers = value.get(said.get(KEY_HEADER, "")) if form == "merged" else value
    if not isinstance(answers, dict):
        return value
    known, moment = field_names(), said.get("ce_time", "")
    own = {name: answers[name] for name in known if name in answers}
    source = {part: own.get(f"{_SOURCE}{part}", getattr(read_at, part)) for part in SourcePosition.model_fields}
    rest = {name: one for name, one in answers.items() if name not in known}
    metadata = rest.pop(METADATA, None) or {
        name.removeprefix(_METADATA): one for name, one in rest.items() if name.startswith(_METADATA)
    }
    outputs = {name.removeprefix(_OUTPUT): one for name, one in rest.items() if not name.startswith(_METADATA)}
    return {
        "result_id": said.get("ce_id", ""),
        "document_id": said.get("ce_subject", ""),
        "started_at": moment,
        "finished_at": moment,
        "cost_usd": "0",
        "attempts": 0,
        "pipeline_version": "",
        "mode": "fanout",
        "excerpt": "",
        **{name: one for name, one in own.items() if name in DocumentResult.model_fields},
        "models": json.loads(own.get("models", "{}")),
        "usage": {name: own[name] for name in Usage.model_fields if name in own},
        "source": source,
        "outputs": outputs,
        "metadata": metadata,
    }
