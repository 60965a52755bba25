"""The results that are on a topic, as rows and columns."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any, Literal

import pytest

import docsluice
from docsluice.errors import BrokerRefused, ConfigurationError, MissingPackage
from docsluice.kafka.transactions import ProducerRecord
from docsluice.messages import DocumentResult
from docsluice.testing.topics import MemoryTopics
from tests.fakes.outcomes import result

As = Literal["pandas", "polars"]


def holding(*results: DocumentResult | bytes) -> MemoryTopics:
    topics = MemoryTopics()
    for one in results:
        value = one if isinstance(one, bytes) else one.model_dump_json().encode()
        topics.append(ProducerRecord(topic="documents.results", key=None, value=value, headers=()))
    return topics


def rows(topics: MemoryTopics, as_: As) -> Sequence[dict[str, Any]]:
    frame: Any = docsluice.read_results(as_=as_, topics=topics)
    found = json.loads(frame.to_json(orient="records", date_format="iso")) if as_ == "pandas" else frame.to_dicts()
    return list(found)


@pytest.mark.parametrize("as_", ["pandas", "polars"])
def test_a_result_is_a_row(as_: As) -> None:
    """Tasks by their names, metadata and objects with points, sums as numbers, each result once."""
    other = result(2, outputs={"mode": "odd", "person": {"name": "A", "age": 3}}, metadata={"pages": 7})
    first, second = rows(holding(result(1), b"junk", result(1), other), as_)
    assert (first["document_id"], first["summary"], first["keywords"]) == ("d1", "Short.", ["a", "b"])
    assert (first["metadata.lang"], first["metadata.pages"], first["cost_usd"]) == ("en", None, 0.0003)
    assert (first["input_tokens"], first["source_offset"], first["models.summary"]) == (100, 1, "m")
    assert (second["outputs.mode"], second["mode"]) == ("odd", "fanout")
    assert (second["person.name"], second["person.age"], second["metadata.pages"]) == ("A", 3, 7)


@pytest.mark.parametrize("as_", ["pandas", "polars"])
def test_an_empty_topic_has_the_columns_that_all_have(as_: As) -> None:
    """So that a notebook does not fall over."""
    frame: Any = docsluice.read_results(topics=holding(), as_=as_)
    assert len(frame) == 0
    assert {"document_id", "cost_usd", "finished_at", "source_offset"} <= set(frame.columns)


@pytest.mark.parametrize("as_", ["pandas", "polars"])
def test_answers_of_different_kinds_share_a_column(as_: As) -> None:
    """A task may have changed its output. Then the column holds text, and loses nothing."""
    topics = holding(result(1, outputs={"x": "a"}), result(2, outputs={"x": ["a", "b"]}), result(3, outputs={"x": 3}))
    assert [row["x"] for row in rows(topics, as_)] == ["a", '["a", "b"]', "3"]
    mixed = holding(result(1, outputs={"x": [1, "a"]}), result(2, outputs={"y": []}), result(3, outputs={"y": ["b"]}))
    first, second, third = rows(mixed, as_)
    assert (first["x"], second["y"], third["y"]) == ('[1, "a"]', [], ["b"])


async def test_it_can_be_called_within_a_loop() -> None:
    """A notebook has one."""
    assert len(docsluice.read_results(topics=holding(result(1)))) == 1


@pytest.mark.parametrize("as_", ["pandas", "polars"])
def test_a_library_that_is_missing_is_told(as_: As, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    room = docsluice.client.data_frame  # type: ignore[attr-defined]
    with pytest.raises(MissingPackage, match=f"pip install {as_}"):
        room.read_results(as_=as_, topics=holding())


def test_what_cannot_work_is_told() -> None:
    """An unknown library, a start that reads nothing, a topic that there is not."""
    with pytest.raises(ConfigurationError, match="as_"):
        docsluice.read_results(as_="excel", topics=holding())  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="latest"):
        docsluice.read_results(from_="latest", topics=holding())
    with pytest.raises(BrokerRefused, match="there is no topic elsewhere"):
        docsluice.read_results(topic="elsewhere", topics=holding())
