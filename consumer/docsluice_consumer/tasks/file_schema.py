"""JSON Schema of a pipeline file, for editors."""

from __future__ import annotations

from typing import Any

from docsluice_consumer.tasks.pipeline_file import PipelineFile


def pipeline_file_schema() -> dict[str, Any]:
    """The schema, draft 2020-12. What it allows may still be refused: labels must differ, templates must be sound."""
    schema: dict[str, Any] = _untitled(PipelineFile.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "docsluice pipeline file", **schema}


def _untitled(part: Any) -> Any:
    """Without the titles, which repeat the names."""
    if isinstance(part, list):
        return [_untitled(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {name: _untitled(value) for name, value in part.items() if name != "title" or not isinstance(value, str)}
