"""What is written small and stands for much is read in full where that is bounded, and refused where it is not."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.response_limit import MOST_ANSWER_BYTES, AnswerBroken, read_bounded
from docsluice_consumer.llm.yaml_file import load_yaml

MOST_CHARACTERS, NODE_CHARACTERS = 10_000_000, 4
"""Of a file with all its aliases written out, and what each of its parts takes beside its own: quotes and a comma."""


class _Unfolding:
    """A file in which each level holds the one before so many times."""

    def __init__(self, word: int) -> None:
        self.lines = [f"a0: &a0 {{k: {'x' * word}}}"]
        self._sizes = [NODE_CHARACTERS + self._scalar(1) + self._scalar(word)]

    @property
    def characters(self) -> int:
        """Of the file, unfolded."""
        names = [self._scalar(len(f"a{number}")) for number in range(len(self._sizes))]
        return NODE_CHARACTERS + sum(names) + sum(self._sizes)

    def add(self, kind: str, width: int) -> None:
        """One level more, in which the last one stands `width` times."""
        before, size, number = f"*a{len(self.lines) - 1}", self._sizes[-1] * width, len(self.lines)
        match kind:
            case "list":
                body = f" [{', '.join([before] * width)}]"
            case "mapping":
                body = f" {{{', '.join(f'k{n:02}: {before}' for n in range(width))}}}"
                size += self._scalar(3) * width
            case _:
                body = f"\n  <<: [{', '.join([before] * width)}]"
                size += self._scalar(2) + NODE_CHARACTERS
        self.lines.append(f"a{number}: &a{number}{body}")
        self._sizes.append(size + NODE_CHARACTERS)

    def _scalar(self, length: int) -> int:
        return length + NODE_CHARACTERS


@given(
    word=st.integers(1, 3000),
    levels=st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=12),
    is_merged=st.booleans(),
)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_yaml_unfolds_to_so_much_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, word: int, levels: list[tuple[bool, int]], *, is_merged: bool
) -> None:
    """Whatever its aliases repeat. Only mappings can be merged, so all levels are merges, or none is."""
    file = _Unfolding(word)
    for is_list, width in levels:
        file.add("merge" if is_merged else "list" if is_list else "mapping", width)
    path = tmp_path_factory.getbasetemp() / "unfolding.yaml"
    path.write_text("\n".join(file.lines))
    if file.characters > MOST_CHARACTERS:
        with pytest.raises(ConfigurationError, match=r"^it: unfolds to more than 10,000,000 characters"):
            load_yaml(path, name="it", variable="DOCSLUICE_PIPELINE")
    else:
        found = load_yaml(path, name="it", variable="DOCSLUICE_PIPELINE").value
        assert len(json.dumps(found, separators=(",", ":"))) <= MOST_CHARACTERS


class _Body(httpx2.AsyncByteStream):
    def __init__(self, body: bytes, piece: int) -> None:
        self._body, self._piece = body, piece
        self.read_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), self._piece):
            piece = self._body[start : start + self._piece]
            self.read_bytes += len(piece)
            yield piece


@given(
    parts=st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 200_000)), max_size=6),
    encoding=st.sampled_from(["gzip", "deflate", "identity"]),
    level=st.integers(1, 9),
    piece=st.sampled_from([1_000, 65_536, 10**9]),
)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
async def test_an_answer_is_read_whole_or_not_at_all(
    parts: list[tuple[bytes, int]], encoding: str, level: int, piece: int
) -> None:
    """However it is packed and cut up: up to the bound it is what was sent, and beyond it is refused."""
    plain = b"".join(unit * times for unit, times in parts)
    match encoding:
        case "gzip":
            packed = gzip.compress(plain, level, mtime=0)
        case "deflate":
            packed = zlib.compress(plain, level)
        case _:
            packed = plain
    response = httpx2.Response(200, headers={"content-encoding": encoding}, stream=_Body(packed, piece))
    if len(plain) > MOST_ANSWER_BYTES:
        with pytest.raises(AnswerBroken):
            await read_bounded(response)
    else:
        assert await read_bounded(response) == plain
