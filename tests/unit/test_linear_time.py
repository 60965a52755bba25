"""Whatever comes from outside is read in time in proportion to its length: by the steps it takes, not by a clock."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from docsluice.text.redaction import redaction_of
from docsluice_consumer.errors import InvalidAnswer, RecordRejected
from docsluice_consumer.llm import completion
from docsluice_consumer.llm.error_body import error_inside, read_error
from docsluice_consumer.llm.finish_reasons import finish_reason
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.llm.rate_limit_headers import ReportedLimits
from docsluice_consumer.llm.retry_after import retry_after_seconds
from docsluice_consumer.llm.usage import stated_cost_usd, usage_of
from docsluice_consumer.tasks.answer_reading import objects_in, parsed, unwrapped
from docsluice_consumer.tasks.chunking import head_of, parts_of
from docsluice_consumer.tasks.outputs import JsonOutput, ListOutput
from docsluice_consumer.tasks.repairs import is_echo
from tests.examples import examples
from tests.fakes.decoding import read_record
from tests.fakes.opcodes import opcodes_of
from tests.fakes.samples import record, steps
from tests.fakes.tickets import reader_of

pytestmark = pytest.mark.long

KEY = "sk-abcdefghijklmnopqrstuv"
DOCUMENT = "The harbour office wrote that the new lamp had arrived undamaged. "
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"anyOf": [{"type": "array"}, {}]}}}
OWN = JsonOutput(type="json", schema={"type": "array", "items": SCHEMA, "uniqueItems": True})
(STEP,) = steps({"name": "task", "prompt": "P", "output": {"type": "list", "items": 3}})


def _completion(message: Mapping[str, Any], **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message}], **more}).encode()


def _read(content: bytes) -> object:
    return completion.read(content, quoted=Quoted([DOCUMENT]), secrets=[KEY], keys=[KEY])


def _checked(output: JsonOutput | ListOutput, value: object) -> None:
    with contextlib.suppress(InvalidAnswer):
        output.read(value)


def _step_read(text: str) -> None:
    read = completion.read(_completion({"content": text}), quoted=Quoted(), secrets=(), keys=())
    assert read.answer is not None
    with contextlib.suppress(InvalidAnswer):
        STEP.read(read.answer)


def _decoded(value: bytes, content_type: str = "application/json") -> None:
    with contextlib.suppress(RecordRejected):
        read_record(key=b"k", value=value, headers=[("content-type", content_type.encode())])


OF_A_TEXT: dict[str, Callable[[str], object]] = {
    "objects": lambda text: list(objects_in(text, fields=frozenset({"a"}))),
    "bare": unwrapped,
    "JSON": parsed,
    "an answer": _step_read,
    "an answer's parts": lambda text: _read(_completion({"content": [{"type": "text", "text": text}] * 3})),
    "a refusal": lambda text: _read(_completion({"content": None, "refusal": text})),
    "an error": lambda text: read_error(502, text.encode(errors="replace"), quoted=Quoted([DOCUMENT]), secrets=[KEY]),
    "an error's message": lambda text: error_inside({"error": {"message": text, "code": text, "param": text}}),
    "an echo of a document": lambda text: read_error(422, DOCUMENT.encode(), quoted=Quoted([text])),
    "secrets": lambda text: redaction_of((KEY,)).cut(text),
    "secrets in a log": lambda text: redaction_of((KEY,)).line(text),
    "a repeated repair": lambda text: is_echo(text, prompt=text[:99], problem=InvalidAnswer("x"), document=text),
    "parts": lambda text: list(parts_of(text, most_bytes=200 + len(text) // 8)),
    "a head": lambda text: head_of(text, most_bytes=100),
    "a finish reason": finish_reason,
    "usage": lambda text: (usage_of({"prompt_tokens": text}), stated_cost_usd({"cost": text})),
    "a limit": lambda text: ReportedLimits().read(
        {"x-ratelimit-limit-tokens": text, "x-ratelimit-reset-tokens": text}, model="m", now=0.0, usage=None
    ),
    "a pause": lambda text: retry_after_seconds(
        {"retry-after": text}, now=NOW, error=read_error(429, json.dumps({"error": {"message": text}}).encode())
    ),
    "a text": lambda text: _decoded(text.encode(errors="replace"), "text/plain; charset=latin-1"),
    "a value": lambda text: _decoded(text.encode(errors="replace")),
    "an event": lambda text: _decoded(json.dumps({"document_id": text, "text": text}).encode()),
    "a content type": lambda text: _decoded(b"{}", text),
}
OF_VALUES: dict[str, Callable[[list[Any]], object]] = {
    "a list": lambda values: _checked(ListOutput(type="list", items=3), values),
    "a schema": lambda values: _checked(OWN, values),
    "nothing to read": lambda values: _read(json.dumps(values).encode()),
    "beside the answer": lambda values: _read(_completion({"content": "x"}, usage={"prompt_tokens": 1}, x=values)),
    "an error's list": lambda values: error_inside({"error": values, "detail": {"loc": values, "errors": values}}),
    "an event's text": lambda values: _decoded(json.dumps({"document_id": "d", "text": values}).encode()),
    "an event's metadata": lambda values: _decoded(
        json.dumps({"document_id": "d", "text": "T", "metadata": dict(enumerate(values))}).encode()
    ),
    "an event's fields": lambda values: _decoded(json.dumps(dict(enumerate(values))).encode()),
}
FRAGMENTS = [
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        "\\",
        ",",
        ":",
        " ",
        "\n",
        "a",
        "1",
        "-",
        ".",
        "'",
        "`",
        "~",
        "<",
        ">",
        "&",
        ";",
        "%",
        "=",
    ),
    *(
        "null",
        "[]",
        "{}",
        '{"',
        '{"a":',
        '{"a":1}',
        '{"a":[',
        '{"\\"{',
        '{"a {"',
        '{"{"}',
        "<think>",
        "</think>",
        "```\n",
    ),
    *(
        "<title>",
        "</title>",
        "<title",
        "&amp;",
        "amp;",
        "&#x26;",
        "%25",
        "\\u005c",
        "\\n",
        "sk-",
        "Bearer ",
        KEY,
        KEY[:13],
    ),
    *(
        "charset=",
        "1m",
        "try again in 1",
        "too large",
        '"input":',
        "\u00e4",
        "\u0130",
        "\U0001f600",
        ". ",
        "\n\n",
        "\u3002",
        "\ufeff",
    ),
]
VALUES: list[Any] = [
    None,
    1,
    1.5,
    "",
    "a",
    DOCUMENT,
    [],
    {},
    [[]],
    {"a": None},
    {"a": "x"},
    {"b": [1]},
    {"a": {"a": {}}},
]


def _assert_linear(work: Callable[[int], Callable[[], object]]) -> None:
    """Four times as much takes at most about four times the steps. A bound may make it fewer."""
    small, large = opcodes_of(work(1)), opcodes_of(work(4))
    assert large <= 5 * small + 2_000


@pytest.mark.parametrize("reading", OF_A_TEXT)
@settings(max_examples=examples(8), suppress_health_check=list(HealthCheck))
@given(unit=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=3).map("".join))
@example(unit='{"')
@example(unit="&amp;")
@example(unit=KEY[:13])
def test_a_text_four_times_as_long_takes_four_times_the_steps(reading: str, unit: str) -> None:
    """Whatever is repeated in it."""
    times = 1_200 // len(unit) + 1
    _assert_linear(lambda size: lambda: OF_A_TEXT[reading](unit * (size * times)))


@pytest.mark.parametrize("reading", OF_VALUES)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_four_times_as_many_values_take_four_times_the_steps(reading: str, value: Any) -> None:
    """Whatever they are."""
    _assert_linear(lambda size: lambda: OF_VALUES[reading]([value] * (size * 100)))


def test_four_megabytes_of_byte_order_marks_are_read_to_their_end() -> None:
    """Taken off one by one, each would copy all the others."""
    _decoded(b"\xef\xbb\xbf" * (2**22 // 3))


@pytest.mark.parametrize(
    "unit", ["<", "<title>", "{", '{"', "`", "&", "\\", " ", "a ", "</think>", "&amp;", '{"a":1}', "[],", KEY[:13]]
)
def test_an_eighth_of_a_megabyte_is_read_to_its_end(unit: str) -> None:
    """What a regular expression does is no step of Python. One that tries all places with all would take hours."""
    text = unit * (2**17 // len(unit))
    for read in OF_A_TEXT.values():
        read(text)
    fence = "`" * 125_000
    assert unwrapped(f"{fence} {fence[1:]}").startswith(fence)


def test_a_record_of_thousands_of_problems_is_told_in_a_few_words() -> None:
    """Each of them would be put into words otherwise, and five are shown."""
    metadata: dict[str, Any] = {f"field-{number}": [] for number in range(40_000)}
    value = json.dumps({"document_id": "d", "text": "T", "metadata": metadata}).encode()
    with pytest.raises(RecordRejected, match=r"metadata\.field-4: must be .*; and 39995 more") as caught:
        read_record(key=None, value=value, headers=[])
    assert len(str(caught.value)) < 500
    assert opcodes_of(lambda: _decoded(value)) < 2_000_000


@pytest.mark.parametrize("text", ["{{ @ }}", "{{ to_string(a) }}{{ a[].b[] }}", "{{ a[?contains(b, 'x')].b[] }}"])
def test_a_mapping_takes_time_in_proportion_to_its_record(text: str) -> None:
    """Twice the record may take twice the steps, and not four times as many."""

    def taken(count: int) -> int:
        value = json.dumps({"a": [{"b": ["x"]}] * count}).encode()
        reader = reader_of(document_id="'d'", text=text)
        return opcodes_of(lambda: reader.read(record(value)))

    taken(10)
    assert taken(20_000) < 2.2 * taken(10_000)
