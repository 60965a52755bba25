"""The account of the fault suite: an auditor that cannot see a loss would prove nothing."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from docsluice.messages import Headers
from docsluice_local.rehearsal.chat import text_hash
from tests.acceptance.faults.account import Account, Document, Ending, Place, account, document_of, ending_of
from tests.acceptance.faults.frames import Api, answered, request_header
from tests.acceptance.faults.idleness import Idleness, rebalance_seconds


@dataclass(kw_only=True)
class _Record:
    topic: str = "documents"
    partition: int = 0
    offset: int = 0
    value: bytes | None = None
    headers: Headers = field(default_factory=list)


def _place(offset: int) -> Place:
    return Place("documents", 0, offset)


DOCUMENTS = [Document(place=_place(offset), text=f"Text {offset}.") for offset in range(3)]
ENDINGS = [Ending(_place(offset), is_dead_letter=False) for offset in range(3)]


def _call(text: str, **more: Any) -> dict[str, Any]:
    return {"document": text_hash(text), "status": 200, "fault": None, **more}


CALLS = [_call(document.text) for document in DOCUMENTS]


def _account(**changed: Any) -> Account:
    whole: dict[str, Any] = {"documents": DOCUMENTS, "endings": ENDINGS, "calls": CALLS, "committed": {0: 3}}
    return account(**whole | changed)


def test_a_run_without_fault() -> None:
    """Every document once, every call once, everything committed."""
    found = _account()
    assert (found.documents, found.results, found.dead_letters, found.calls) == (3, 3, 0, 3)
    assert (found.lost, found.repeated, found.strangers, found.uncommitted, found.paid_again) == ((), 0, 0, 0, 0)


def test_a_document_without_an_outcome_is_lost() -> None:
    """Also when another one has ended twice and the sums agree."""
    found = _account(endings=[ENDINGS[0], ENDINGS[0], ENDINGS[2]])
    assert found.lost == (_place(1),)
    assert found.repeated == 1


def test_a_dead_letter_is_an_outcome_and_a_second_one_a_repeat() -> None:
    """A document that ended as both has been repeated."""
    found = _account(endings=[*ENDINGS, Ending(_place(0), is_dead_letter=True)])
    assert (found.lost, found.dead_letters, found.repeated) == ((), 1, 1)


def test_an_outcome_of_nothing_is_a_stranger() -> None:
    """It makes up for no loss."""
    found = _account(endings=[*ENDINGS[:2], Ending(_place(7), is_dead_letter=False)])
    assert (found.lost, found.strangers) == ((_place(2),), 1)


def test_what_was_not_committed_is_counted() -> None:
    """At the committed offset and above, in partitions that were never committed too."""
    assert _account(committed={0: 1}).uncommitted == 2
    assert _account(committed={}).uncommitted == 3


@pytest.mark.parametrize(
    ("call", "again"),
    [
        (_call("Text 0."), 1),
        (_call("Text 0.", status=0), 1),
        (_call("Text 0.", status=0, fault="hold"), 1),
        (_call("Text 0.", status=0, fault="hang"), 0),
        (_call("Text 0.", status=500, fault="500"), 0),
        (_call("That answer is not valid."), 1),
    ],
)
def test_calls_that_cost_money_twice(call: dict[str, Any], again: int) -> None:
    """Answered ones and broken-off ones do. The provider's own failures do not."""
    assert _account(calls=[*CALLS, call]).paid_again == again


def test_equal_texts_are_as_many_documents() -> None:
    """A record that its producer sent twice is worth two calls."""
    twice = [*DOCUMENTS, Document(place=_place(3), text="Text 0.")]
    assert _account(documents=twice, calls=[*CALLS, _call("Text 0.")]).paid_again == 0


def test_outcomes_tell_where_their_document_stands() -> None:
    """A result in its value, a dead letter in its headers, whatever its value is."""
    value = json.dumps({"source": {"topic": "documents", "partition": 2, "offset": 9}}).encode()
    assert ending_of(_Record(value=value)) == Ending(Place("documents", 2, 9), is_dead_letter=False)
    headers = [(f"__docsluice.errors.{name}", data) for name, data in _ORIGIN.items()]
    assert ending_of(_Record(value=b"\xff", headers=headers)) == Ending(Place("documents", 2, 9), is_dead_letter=True)
    with pytest.raises(ValueError, match="neither"):
        ending_of(_Record(value=b"{}"))


_ORIGIN = {"topic": b"documents", "partition": b"2", "offset": b"9"}


def test_a_tombstone_is_no_document() -> None:
    """It has no outcome, and none is missed."""
    assert document_of(_Record()) is None
    assert document_of(_Record(offset=4, value=b'{"text": "T"}')) == Document(place=_place(4), text="T")


def test_frames_say_what_is_asked_and_what_is_answered() -> None:
    """Size, key, version, correlation id. In a response, the correlation id alone."""
    request = struct.pack(">ihhi", 8, Api.END_TXN, 3, 77)
    assert request_header(request) == (Api.END_TXN, 3, 77)
    assert answered(struct.pack(">ii", 4, 77)) == 77


def test_idleness_is_the_longest_pause_between_calls() -> None:
    """A replica that starts, is not there, or has been restarted is not idle. One that does nothing for long is."""
    idleness = Idleness()
    for now, calls in ((0.0, None), (1.0, 0), (9.0, 0), (9.5, 1), (10.0, 4), (10.0, None), (30.0, 2), (31.0, 3)):
        idleness.note("a", calls, now)
    assert idleness.longest_seconds == 1.0
    idleness.note("b", 7, 31.0)
    idleness.note("a", 3, 33.0)
    idleness.note("a", 4, 34.0)
    assert idleness.longest_seconds == 3.0


def test_a_rebalance_lasts_from_revoked_to_assigned(tmp_path: Path) -> None:
    """Each one is counted, but for the first assignment of a process. Lines of others are skipped."""
    events = ["service.started", "partitions.assigned", "partitions.revoked", "broker.waiting", "partitions.assigned"]
    lines = [json.dumps({"event": event, "timestamp": f"2026-01-01T00:00:0{n}Z"}) for n, event in enumerate(events)]
    log = tmp_path / "replica.log"
    log.write_text("\n".join(["Traceback", *lines, lines[0], lines[1]]))
    assert list(rebalance_seconds([log])) == [2.0]
