"""Every case: one record, one answer, one file or one belief that once took the whole down."""

from __future__ import annotations

import functools
import gzip
import json
import random
from pathlib import Path

from tests.acceptance.hostile.attacks import (
    broker_goes_away,
    clients,
    closes_its_half,
    drips,
    files_run_out,
    says_half,
    says_nothing,
    stops_and_starts,
)
from tests.acceptance.hostile.case import Case
from tests.acceptance.hostile.commands import FEW_FILES, commands, quoting
from tests.acceptance.hostile.server import body_of, completion
from tests.acceptance.hostile.state import STATE, budget
from tests.fakes.batches import RawRecord, batch
from tests.fakes.raw_server import RawAnswer
from tests.integration.raw_producer import bomb, far_repeats, in_zstd

_MEBIBYTE = 2**20


def _plain(value: bytes) -> bytes:
    return batch([RawRecord(value=value, key=b"poison")])


def _odd_header() -> bytes:
    value = b'{"document_id": "odd", "text": "Odd."}'
    return batch([RawRecord(value=value, key=b"poison", headers=[(b"caf\xe9", b"1")])])


def _error(status: int, **headers: str) -> RawAnswer:
    body = json.dumps({"error": {"message": "no", "type": "server_error"}}).encode()
    return RawAnswer(status=status, body=body, headers=headers)


@functools.cache  # one that is packed anew for each call would hold up the server, and all who ask it
def _zeros_zipped(size: int) -> RawAnswer:
    return RawAnswer(status=200, body=gzip.compress(b" " * size, 9, mtime=0), headers={"content-encoding": "gzip"})


def _clocks_that_are_off(*by: str) -> tuple[Case, ...]:
    """As Debian's package faketime sets them; none of these cases where it is missing."""
    libraries = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return tuple(
        Case(name=f"a clock {off} off", settings={"LD_PRELOAD": str(library), "FAKETIME": off, **budget(f"at {off}")})
        for library in libraries
        for off in by
    )


_JSON = {"type": "json"}
_PATTERN = {**_JSON, "schema": {"type": "object", "properties": {"x": {"type": "string", "pattern": r"^(\w+\s?)*$"}}}}
_UNIQUE = {**_JSON, "schema": {"type": "object", "properties": {"x": {"type": "array", "uniqueItems": True}}}}
_MULTIPLE = {**_JSON, "schema": {"type": "object", "properties": {"x": {"type": "number", "multipleOf": 0.01}}}}

RECORDS = (
    Case(name="24 MB in 400 kB", batches=lambda: [in_zstd(far_repeats(), b"poison")], ends={"too_large": 1}),
    Case(
        name="1 MB that fits exactly",
        batches=lambda: [_plain(random.Random(7).randbytes(1_048_400))],
        ends={"undecodable": 1},
    ),
    Case(name="header name", batches=lambda: [_odd_header()], ends={"undecodable": 1}),
    Case(name="zstd bomb", batches=lambda: [bomb("zstd")], ends={"too_large": 1}),
    Case(name="gzip bomb", batches=lambda: [bomb("gzip", 900 * _MEBIBYTE)], ends={"too_large": 1}),
    Case(name="deep JSON", batches=lambda: [_plain(b"[" * 500_000)], ends={"undecodable": 1}),
    Case(
        name="huge number",
        batches=lambda: [_plain(b'{"document_id": "x", "text": "y", "metadata": {"n": ' + b"9" * 500_000 + b"}}")],
        ends=None,
    ),
)
STARVING = (
    # They end once enough others were answered between, which may be later.
    Case(name="ten always 500", hostile_documents=10, answer=lambda: _error(500), ends=None),
    Case(name="ten always 429", hostile_documents=10, answer=lambda: _error(429), ends=None),
    Case(
        name="ten always time out",
        hostile_documents=10,
        answer=lambda: completion("late"),
        seconds=60,
        settings={"DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "2"},
        ends=None,
    ),
    Case(name="rare 429s", answer=lambda: _error(429), random_share=0.005),
    Case(name="rare 500s", answer=lambda: _error(500), random_share=0.005),
)
ANSWERS = (
    Case(name="16 MB of lists", hostile_documents=3, answer=lambda: completion("[]," * 5_000_000), ends=None),
    Case(
        name="body of 16 MB of lists",
        hostile_documents=3,
        answer=lambda: RawAnswer(status=200, body=b"[" + b"[]," * 5_000_000 + b"[]]"),
        ends=None,
    ),
    Case(
        name="gzip of 256 MB",
        hostile_documents=3,
        answer=lambda: _zeros_zipped(256 * _MEBIBYTE),
        ends=None,
    ),
    Case(
        name="endless body",
        hostile_documents=3,
        answer=lambda: RawAnswer(status=200, body=b"{", endless=True),
        ends=None,
    ),
    Case(
        name="pattern that explodes",
        hostile_documents=3,
        output=_PATTERN,
        answer=lambda: completion(json.dumps({"x": "a" * 40 + "!"})),
        ends={"invalid_answer": 3},
    ),
    Case(
        name="6,000 unique objects",
        hostile_documents=3,
        output=_UNIQUE,
        answer=lambda: completion(json.dumps({"x": [{"n": n} for n in range(6_000)]})),
        ends=None,
    ),
    Case(
        name="multiple of 10^400",
        hostile_documents=3,
        output=_MULTIPLE,
        answer=lambda: completion('{"x": 1' + "0" * 400 + "}"),
        ends=None,
    ),
    Case(
        name="braces",
        hostile_documents=3,
        answer=lambda: completion("{" * 400_000),
        ends={"invalid_answer": 3},
    ),
    Case(
        name="NaN in the usage",
        hostile_documents=3,
        answer=lambda: RawAnswer(
            status=200, body=body_of('{"category": "tech"}', usage={"prompt_tokens": 1e308, "completion_tokens": -5})
        ),
        ends=None,
    ),
)
BELIEFS = (
    Case(
        name="one request a minute, said once",
        first_answer=lambda: completion(
            '{"category": "tech"}',
            **{"x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0"},
        ),
    ),
    Case(
        name="an hour's pause, said once",
        first_answer=lambda: _error(503, **{"retry-after": "3600"}),
    ),
)
PORT = (
    Case(name="200 idle connections", beside=clients(says_half)),
    Case(name="200 connections that say nothing", beside=clients(says_nothing)),
    Case(name="200 slow headers", beside=clients(drips)),
    Case(name="200 half-closed connections", beside=clients(closes_its_half)),
    Case(name="no file left for 10 s", beside=files_run_out, outage_seconds=10, says=("http.cannot_accept",)),
    Case(name="100 files in all", before=FEW_FILES, says=("open_files.too_few",)),
)
WORLD = (
    *_clocks_that_are_off("-40d", "+40d"),
    Case(
        name="broker away for 10 s",
        beside=broker_goes_away,
        outage_seconds=15,  # it takes five to start
        says=("broker.away", "broker.back"),
    ),
    Case(name="a stop in the middle", beside=stops_and_starts, says=("service.draining", "service.drained")),
)
SECRETS = (
    Case(name="an error that quotes the key", hostile_documents=3, answer=lambda: quoting(400), ends={"rejected": 3}),
    Case(name="an outage that quotes the key", answer=lambda: quoting(500), random_share=0.05),
    Case(name="commands", beside=commands),
)

CASES = {case.name: case for case in (*RECORDS, *STARVING, *ANSWERS, *BELIEFS, *STATE, *PORT, *WORLD, *SECRETS)}
UNDISTURBED = Case(name="undisturbed")
