"""Builds the parts that speak with the schema registry, from settings and the pipeline file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from docsluice.registry.client import RegistryAddress, RegistryClient
from docsluice.text.ascii_json import compact
from docsluice_consumer.analysis.avro_results import AvroResults, avro_schema, changed_fields
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.registry.result_subjects import Incompatible, problem_with, registered, subject_of
from docsluice_consumer.settings import Settings
from docsluice_consumer.tasks.outputs import ListOutput
from docsluice_consumer.tasks.pipeline_file import PipelineFile


def registry_of(settings: Settings) -> RegistryClient | None:
    """The registry that records name their schemas of, if there is one."""
    if settings.schema_registry_url is None:
        return None
    password = settings.schema_registry_password
    return RegistryClient(
        RegistryAddress(
            url=settings.schema_registry_url,
            username=settings.schema_registry_username,
            password=password.get_secret_value() if password else None,
            cafile=settings.schema_registry_cafile,
        )
    )


def avro_of(settings: Settings, file: PipelineFile) -> AvroResults | None:
    """How results are written in Avro, if the pipeline file says so. Their schema has no id yet.

    Raises:
        ConfigurationError: there is no registry to put their schema into.
    """
    entry = file.output
    if entry.format != "avro":
        return None
    if settings.schema_registry_url is None:
        needed = "avro needs DOCSLUICE_SCHEMA_REGISTRY_URL, for readers find the schema of results there"
        raise ConfigurationError([f"{file.path}: output.format: {needed}"])
    outputs = {task.name: isinstance(task.output, ListOutput) for task in file.tasks}
    return AvroResults(schema=avro_schema(outputs, entry.fields))


async def avro_in(
    registry: RegistryClient | None, avro: AvroResults | None, settings: Settings, file: PipelineFile
) -> AvroResults | None:
    """The same with the ids of the schema, which is put into the registry. While that is away, wait.

    Raises:
        ConfigurationError: the readers of results would not get on with the schema.
    """
    if avro is None or registry is None:
        return None
    schema, topics = compact(avro.schema), [settings.result_topic, *file.output.topics]
    try:
        ids = await registered(registry, topics, schema, changed=partial(changed_fields, new=avro.schema))
    except Incompatible as problem:
        remedy = "give the task another name, or results another topic"
        raise ConfigurationError([f"{file.path}: output.format: avro: subject {problem}; {remedy}"]) from None
    return replace(avro, ids=ids)


async def problem_of_results(
    registry: RegistryClient, avro: AvroResults, settings: Settings, file: PipelineFile
) -> str | None:
    """Why `avro_in` would end the start. None if it would not."""
    schema, changed = compact(avro.schema), partial(changed_fields, new=avro.schema)
    for topic in (settings.result_topic, *file.output.topics):
        if (problem := await problem_with(registry, subject_of(topic), schema, changed)) is not None:
            return problem
    return None
