"""The files of a new project: a pipeline file, its schema, documents to try, settings and a broker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from docsluice.errors import WrongUsage
from docsluice_consumer.tasks.file_schema import pipeline_file_schema

PIPELINE, SCHEMA, DOCUMENTS, COMPOSE = "pipeline.yaml", "pipeline.schema.json", "documents.jsonl", "compose.yaml"
ENV, ENV_EXAMPLE = ".env", ".env.example"


def project_files(template: str, *, is_local: bool) -> Mapping[str, str]:
    """The files by name. `is_local`: the settings are for the small model on this machine, and ready to be used."""
    here = files("docsluice_consumer.templates")
    return {
        PIPELINE: here.joinpath(f"{template}.yaml").read_text(encoding="utf-8"),
        SCHEMA: json.dumps(pipeline_file_schema(), indent=2) + "\n",
        DOCUMENTS: here.joinpath(f"{template}.jsonl").read_text(encoding="utf-8"),
        ENV if is_local else ENV_EXAMPLE: here.joinpath("local_env" if is_local else "env").read_text(encoding="utf-8"),
        COMPOSE: here.joinpath(COMPOSE).read_text(encoding="utf-8"),
    }


def write_project(folder: Path, project: Mapping[str, str]) -> None:
    """Write the files into a folder, which is made if it is missing.

    Raises:
        WrongUsage: one of them is there already, or the folder cannot be written to. Nothing is overwritten.
    """
    if there := [name for name in project if (folder / name).exists()]:
        raise WrongUsage(f"{folder / there[0]} is there already, and nothing is overwritten; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in project.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(content)
    except OSError as error:
        raise WrongUsage(f"{folder}: cannot be written to: {error.strerror or error}") from error
