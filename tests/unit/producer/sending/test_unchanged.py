"""Which documents `send --if-changed` skips."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from docsluice.documents.rows import Document, Place, document
from docsluice.kafka.topic_reading import OffsetRange
from docsluice.messages import result_headers, result_id
from docsluice_producer.sending import remembered, results
from docsluice_producer.sending.remembered import RememberedIds
from docsluice_producer.sending.report import Report
from docsluice_producer.sending.unchanged import Unchanged
from tests.fakes.outcomes import Fetched, result

VERSION, OTHER_VERSION = "0123456789ab", "ba9876543210"
KEYS = st.integers(min_value=0, max_value=2**64 - 1)


def sendable(document_id: str, text: str = "text", **metadata: Any) -> Document:
    fields = {"document_id": document_id, "text": text, "metadata": metadata}
    return document(Place("f", 1), fields, input_bytes=10)


def with_results(*done: tuple[str, str, str]) -> Unchanged:
    found = Unchanged(pipeline_version=VERSION)
    for document_id, text, version in done:
        found.results.add(result_id(document_id=document_id, text=text, pipeline_version=version))
    return found


def test_what_has_a_result_is_passed_over() -> None:
    """Only where id, text and version are those of the result. Metadata make no difference."""
    found = with_results(("a", "text", VERSION), ("b", "text", OTHER_VERSION), ("c", "tëxt\n", VERSION))
    passed = [
        found.passes_over(one)
        for one in (
            sendable("a", lang="vi"),
            sendable("a", "new text"),
            sendable("b"),
            sendable("c", "tëxt\n"),
            sendable("c", "text"),
            sendable("d"),
        )
    ]
    assert passed == [True, False, False, True, False, False]
    assert found.summary == [f"passed over 2 documents that have a result under pipeline version {VERSION}"]


def test_the_second_of_the_same_is_passed_over() -> None:
    """Within one sending as well. The two reasons are counted apart."""
    found = with_results(("a", "text", VERSION))
    passed = [found.passes_over(sendable(*one)) for one in (("b",), ("b",), ("a",), ("b", "other"), ("b", "text"))]
    assert passed == [False, True, True, False, True]
    assert found.summary == [
        f"passed over 1 document that has a result under pipeline version {VERSION}",
        "passed over 2 documents that have id and text of an earlier one",
    ]


def test_nothing_passed_over_is_said_too() -> None:
    """For it may be that the version is not the one that was meant."""
    assert with_results().summary == [
        f"passed over 0 documents that have a result under pipeline version {VERSION}",
    ]


def test_the_report_counts_what_is_sent() -> None:
    """Documents that are skipped are not read, nor repeats of each other."""
    report = Report(total_bytes=None)
    report.unchanged = with_results(("a", "text", VERSION))
    sifted = [report.sift(sendable(*one)) for one in (("a",), ("b",), ("b",), ("b", "other"))]
    assert [one is not None for one in sifted] == [False, True, False, True]
    assert report.read == 2
    assert report.repeated.count == 1


@given(st.lists(KEYS), st.lists(KEYS))
def test_ids_are_remembered(added: list[int], asked: list[int]) -> None:
    """What was added is there, once, and nothing else is."""
    found = RememberedIds()
    for key in (*added, *added):
        found.add(f"{key:016x}{0:016x}")
    assert len(found) == len(set(added))
    for key in (*added, *asked):
        assert (f"{key:016x}{1:016x}" in found) == (key in added)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound no new id is remembered. Those that are, stay."""
    monkeypatch.setattr(remembered, "REMEMBERED", 2)
    found = RememberedIds()
    ids = [f"{number:032x}" for number in (1 << 64, 2 << 64, 3 << 64)]
    for one in ids:
        assert found.is_full == (one == ids[2])
        found.add(one)
    assert [one in found for one in ids] == [True, True, False]
    assert len(found) == 2


class Topic:
    """What a scan of the result topic brings, each in a piece of its own."""

    def __init__(self, *document_ids: str) -> None:
        self.passed = 0
        self._document_ids = document_ids

    async def offset_range(self) -> OffsetRange:
        place = TopicPartition("t", 0)
        return OffsetRange(first={place: 0}, end={place: len(self._document_ids)})

    async def pieces(self, offset_range: OffsetRange) -> AsyncIterator[list[Fetched]]:
        for name in self._document_ids:
            self.passed += 1
            identity = result_id(document_id=name, text="text", pipeline_version=VERSION)
            one = result(document_id=name, result_id=identity, pipeline_version=VERSION)
            yield [Fetched(value=one.model_dump_json().encode(), headers=result_headers(one, group_id="g"))]


async def test_more_results_than_are_remembered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, nothing more is read, and the documents of the others are sent."""
    monkeypatch.setattr(remembered, "REMEMBERED", 2)
    found, topic = with_results(), Topic("a", "a", "b", "c", "d")
    await results._remember(topic, found, Report(total_bytes=None), topic="t")  # type: ignore[arg-type]
    assert topic.passed == 3
    assert [found.passes_over(sendable(name)) for name in "abc"] == [True, True, False]
    assert capsys.readouterr().err.splitlines() == [
        "reading t for what is done, 5 records at most",
        "2 results are remembered and no more: documents of the others are sent",
    ]


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "7 of 9\n"), (1e9, "")])
def test_a_long_reading_is_told_now_and_then(
    seconds: float, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, in a line when it is time, and not before."""
    monkeypatch.setattr("docsluice_producer.sending.report._POST_SECONDS", seconds)
    Report(total_bytes=None).keep_posted(lambda: "7 of 9")
    assert capsys.readouterr().err == shown


def test_what_is_compared_is_what_is_sent() -> None:
    """The id is worked out from the very bytes that go to the topic."""
    one = sendable("a", "half \\u00e9 \u2028 é")
    event = json.loads(one.value)
    assert with_results((event["document_id"], event["text"], VERSION)).passes_over(one)
