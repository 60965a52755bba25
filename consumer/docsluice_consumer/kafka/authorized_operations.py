"""Two requests that aiokafka lacks: which operations on a topic, or on a group, are allowed to us (KIP-430).

An answer has them as bits. A broker without ACLs sets all of them.
"""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String


def _named(schema: Schema, name: str) -> Any:
    return schema.fields[schema.names.index(name)]


_TOPIC_PARTITIONS = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", Array(Int32)),
    ("isr", Array(Int32)),
    ("offline_replicas", Array(Int32)),
)


class _TopicResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION = 3, 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", _named(MetadataResponse_v5.SCHEMA, "brokers")),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                ("partitions", Array(*_TOPIC_PARTITIONS)),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _TopicStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION, RESPONSE_TYPE = 3, 8, _TopicResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class TopicOperationsRequest(Request[_TopicStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's own does not ask for authorized operations."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_TopicStruct]) -> _TopicStruct:
        """See `Request.build`."""
        return request_struct_class(self._topics, False, False, True)  # noqa: FBT003 - in the order of the schema


class _GroupResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION = 15, 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", String("utf-8")),
                ("state", String("utf-8")),
                ("protocol_type", String("utf-8")),
                ("protocol", String("utf-8")),
                (
                    "members",
                    Array(
                        ("member_id", String("utf-8")),
                        ("client_id", String("utf-8")),
                        ("client_host", String("utf-8")),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class _GroupStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION, RESPONSE_TYPE = 15, 3, _GroupResponse
    SCHEMA = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


class GroupOperationsRequest(Request[_GroupStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's own reads the answer by an older schema, without the operations."""

    API_KEY = 15

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[_GroupStruct]) -> _GroupStruct:
        """See `Request.build`."""
        return request_struct_class(self._groups, True)  # noqa: FBT003 - in the order of the schema
