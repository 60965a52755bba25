"""Cases that a seed draws: more of each kind than anybody has thought of. `--seed 2` draws others."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Sequence

from tests.acceptance.hostile.case import Case
from tests.acceptance.hostile.server import body_of, completion
from tests.acceptance.hostile.state import bad_ledger, redis_with
from tests.fakes.batches import RawRecord, batch
from tests.fakes.exploding_patterns import exploding_pattern, near_miss
from tests.fakes.raw_server import RawAnswer
from tests.integration.raw_producer import bomb, in_zstd

_MEBIBYTE = 2**20
_RECORDS = 6
_FRAGMENTS = (
    "[],",
    '{"a":',
    '"\\u0000',
    "[[",
    "{}",
    "1e9,",
    "-",
    "\u00e4\U0001f600",
    " ",
    '{"category":"tech"}',
    "\\",
    "&#",
)
_NUMBERS = ("0", "-1", "1", "1e400", "nan", "inf", "9" * 400, "", "1,5", "\u0661", "0x10", "-0", "1h", "99999999999h")
_LIMITS = tuple(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens"))
_ROWS = ("NaN", "Infinity", 1e999, -1e999, -1e308, 1e308, "", "now", b"\xff", -1, 0, 2**62, 1e-320)


def drawn(seed: int) -> Sequence[Case]:
    """One case of each kind: records, patterns, answers, limits, ledgers, entries of a store."""
    chance = random.Random(seed)
    return [
        _records(chance),
        _pattern(chance),
        _answer(chance),
        _limits(chance),
        bad_ledger(f"drawn ledger {seed}", chance.choice(_ROWS), chance.choice(_ROWS)),
        Case(name="drawn entries of a store", redis=redis_with(entry=_entry(chance))),
    ]


def _records(chance: random.Random) -> Case:
    """Each ends as one dead letter."""
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: bomb(chance.choice(["zstd", "gzip"]), chance.randint(20, 600) * _MEBIBYTE),
        lambda: _record(chance, b"{" + chance.randbytes(chance.randint(1, 900_000))),
        lambda: in_zstd(b"{" + chance.randbytes(chance.randint(1, 200_000)) * chance.randint(2, 100), b"poison"),
        lambda: _record(chance, b"[" * chance.randint(1, 900_000)),
        lambda: _record(chance, b'{"document_id": "x", "text": ' + b"9" * chance.randint(1, 900_000) + b"}"),
    )
    batches = [chance.choice(kinds)() for _ in range(_RECORDS)]
    return Case(name="drawn records", batches=lambda: batches, ends=_RECORDS)


def _record(chance: random.Random, value: bytes) -> bytes:
    headers = [(chance.randbytes(chance.randrange(8)), chance.randbytes(chance.randrange(3_000))) for _ in range(2)]
    return batch(
        [RawRecord(value=value, key=b"poison", headers=headers)], codec=chance.choice(["zstd", "gzip", "none"])
    )


def _pattern(chance: random.Random) -> Case:
    text = {"anyOf": [{"enum": ["words"]}, {"pattern": exploding_pattern(chance)}]}
    output = {"type": "json", "schema": {"type": "object", "properties": {"x": text}}}
    answer = completion(json.dumps({"x": near_miss(chance.randint(30, 60_000))}))
    return Case(name="drawn pattern", hostile_documents=3, output=output, answer=lambda: answer, ends=3)


def _answer(chance: random.Random) -> Case:
    """Up to 30 MB of one thing, as a body or as the model's words, packed or not."""
    unit = "".join(chance.sample(_FRAGMENTS, chance.randint(1, 3)))
    text = unit * (chance.choice([1_000, 300_000, 30_000_000]) // len(unit))
    body = chance.choice([text.encode(), body_of(text)])
    packed = {"": body, "br": body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}
    coding = chance.choice([*packed])
    headers = {"content-encoding": coding} if coding else {}
    answer = RawAnswer(status=chance.choice([200, 400, 429, 500]), body=packed[coding], headers=headers)
    return Case(name="drawn answer", hostile_documents=3, answer=lambda: answer, ends=None)


def _limits(chance: random.Random) -> Case:
    headers = {name: chance.choice(_NUMBERS) for name in chance.sample(_LIMITS, 3)}
    headers["retry-after"] = chance.choice(_NUMBERS)
    status, body = chance.choice([200, 429, 503]), body_of('{"category": "tech"}')
    headers = {name: value for name, value in headers.items() if value.isascii()}
    return Case(name="drawn limits", first_answer=lambda: RawAnswer(status=status, body=body, headers=headers))


def _entry(chance: random.Random) -> bytes:
    """What a step left behind, with something else in one of its places."""
    entry: dict[str, object] = {"outputs": {"category": "tech"}, "models": {"category": "m"}, "usage": {}}
    odd: tuple[object, ...] = (
        None,
        1e308,
        [],
        {},
        "",
        "\u0000" * 99,
        {"category": None},
        {"category": [[]]},
        {"other": "tech"},
    )
    entry[chance.choice([*entry])] = chance.choice(odd)
    return json.dumps(entry).encode()
