"""Results in the forms that others want: flat, merged into their documents, and with Connect's schema."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import DocumentResult, SourcePosition, result_headers
from docsluice.outcomes.outcome import outcome_of
from docsluice.result_forms import WHOLE, Form, flat, for_connect, merged, nested_fields
from docsluice_consumer.analysis.result_writer import ResultWriter
from tests.fakes.outcomes import Fetched, outcome, result

NAMES = st.sampled_from(["summary", "mode", "metadata", "metadata_x", "outputs_mode", "usage", "source_topic"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
RESULTS = st.builds(
    result,
    outputs=st.dictionaries(NAMES, JSON, max_size=4),
    metadata=st.dictionaries(TEXTS, st.booleans() | st.integers(-9, 9) | TEXTS, max_size=3),
)


def record_of(writer: ResultWriter, one: DocumentResult, document: Any = None) -> Fetched:
    """A result as it is published."""
    headers = dict(result_headers(one, group_id="g")) | dict(writer.headers())
    return Fetched(value=writer.value(one, document), headers=tuple(headers.items()), key=one.document_id.encode())


def writer_of(form: Form, **more: Any) -> ResultWriter:
    return ResultWriter(topic="results", form=form, key="analysis" if form == "merged" else "", **more)


def test_a_flat_result_is_one_level() -> None:
    """Each value has a name of its own, and a table's column."""
    fields = flat(result(3, outputs={"summary": "Short.", "mode": "x"}, metadata={"lang": "en"}))
    assert (fields["summary"], fields["outputs_mode"], fields["mode"]) == ("Short.", "x", "fanout")
    assert (fields["input_tokens"], fields["source_offset"], fields["metadata_lang"]) == (100, 3, "en")
    assert fields["models"] == '{"summary":"m"}'
    assert flat(result(), fields=["cost_usd"]).keys() == {"cost_usd", "summary", "keywords", "metadata_lang"}


def test_a_merged_result_is_the_document_with_the_answers() -> None:
    """Nothing of the document is lost but an earlier analysis. A text becomes a field."""
    ticket = {"ticket_id": 17, "customer": {"id": "acme"}, "analysis": "old"}
    answers = {"summary": "Short.", "keywords": ["a", "b"]}
    assert merged(result(), ticket, key="analysis") == {**ticket, "analysis": answers}
    assert merged(result(), "a text", key="analysis") == {WHOLE: "a text", "analysis": answers}
    assert merged(result(), [1], key="a", fields=["cost_usd"]) == {WHOLE: [1], "a": {"cost_usd": "0.0003", **answers}}


def test_a_number_that_json_does_not_know_is_null_in_a_merged_result() -> None:
    """Python reads it, and strict readers of the result would end at it."""
    value = writer_of("merged").value(result(), {"a": [float("nan"), {"b": float("-inf"), "c": 1.5}]})
    assert json.loads(value, parse_constant=pytest.fail)["a"] == [None, {"b": None, "c": 1.5}]


def test_a_document_with_odd_characters_is_merged_as_it_came() -> None:
    """Half of a surrogate pair is JSON all the same."""
    value = writer_of("merged").value(result(), {"\ud800": ["\udfff"]})
    assert json.loads(value)["\ud800"] == ["\udfff"]


@given(one=RESULTS, form=st.sampled_from(["nested", "flat", "merged"]), with_schema=st.booleans())
def test_follow_reads_every_form(one: DocumentResult, form: Form, with_schema: bool) -> None:  # noqa: FBT001 - drawn
    """With the outputs, the tokens and the cost, whatever the tasks are named and answer."""
    with_schema = with_schema and form == "flat"
    fields = {} if form == "nested" else {"fields": list(flat(one.model_copy(update={"outputs": {}, "metadata": {}})))}
    found = outcome(record_of(writer_of(form, with_schema=with_schema, **fields), one, {"text": "t"}))
    assert (found.document_id, found.cost_usd, found.usage) == (one.document_id, one.cost_usd, one.usage)
    assert found.identities[0] == f"result {one.result_id}"
    assert found.finished_at == one.finished_at
    if not with_schema:  # all are texts there
        assert found.outputs == one.outputs
    if form != "merged":  # the metadata are in the document
        assert found.fields["metadata"] == one.metadata


@pytest.mark.parametrize("form", ["flat", "merged"])
def test_what_was_left_out_is_taken_from_the_event(form: Form) -> None:
    """A result without any field but its outputs still names its document, and is known when it comes again."""
    one = result(4)
    found = outcome(record_of(writer_of(form, fields=()), one, {"a": 1}))
    assert (found.document_id, found.outputs, found.cost_usd) == ("d4", one.outputs, Decimal(0))
    assert found.identities[0] == "result r4"
    assert found.finished_at == one.finished_at


@given(value=JSON, form=st.sampled_from(["flat", "merged"]))
def test_any_value_that_claims_a_form_is_read_or_named(value: Any, form: Form) -> None:
    """A foreign record ends nothing."""
    record = Fetched(value=json.dumps(value).encode(), headers=tuple(writer_of(form).headers()))
    outcome_of(record)


@pytest.mark.parametrize("number", [10**30, None, [], "x", {}, True, "////////////////////////", 1e308, "[" * 10**5])
@pytest.mark.parametrize("name", ["cost_usd", "started_at", "metadata"])
def test_a_number_that_is_none_makes_an_unreadable_record(name: str, number: Any) -> None:
    """Whatever a stranger has written in the place of a decimal or a time."""
    value = {"schema": {}, "payload": {name: number}}
    outcome_of(Fetched(value=json.dumps(value).encode(), headers=tuple(writer_of("flat").headers())))


def test_a_nested_value_is_not_touched() -> None:
    """It is the form that older releases write."""
    value = {"schema": 1, "payload": {}}
    assert nested_fields(value, (), read_at=SourcePosition(topic="t", partition=0, offset=0)) is value


def test_connect_gets_a_type_for_each_column() -> None:
    """Times are timestamps, dollars are decimals, counts are whole numbers, and all else is a text."""
    outputs = {"summary": "s", "keywords": ["ä"], "score": {"a": 1}, "rank": 1.5, "none": None}
    sent = for_connect(result(1, outputs=outputs, metadata={"vip": True}))
    types = {one["field"]: one.get("name", one["type"]).rpartition(".")[2] for one in sent["schema"]["fields"]}
    texts = {*outputs, "metadata", "models", "result_id", "document_id", "pipeline_version", "mode", "excerpt"}
    assert {name for name, kind in types.items() if kind == "string"} == {*texts, "source_topic"}
    assert {name for name, kind in types.items() if kind == "Timestamp"} == {"started_at", "finished_at"}
    assert {name for name, kind in types.items() if kind == "Decimal"} == {"cost_usd", "saved_usd"}
    assert set(types.values()) == {"string", "Timestamp", "Decimal", "int64"}
    payload = sent["payload"]
    assert payload["cost_usd"] == "EeGjAA=="  # 300,000,000 of a million-millionth
    assert (payload["keywords"], payload["score"], payload["rank"]) == ('["ä"]', '{"a":1}', "1.5")
    assert (payload["none"], payload["metadata"]) == (None, '{"vip":true}')


@given(one=RESULTS, other=RESULTS)
def test_a_column_has_one_type_whatever_a_record_holds(one: DocumentResult, other: DocumentResult) -> None:
    """A sink ends at a value of another type, so no answer and no document may choose it."""
    types = [{field["field"]: field for field in for_connect(each)["schema"]["fields"]} for each in (one, other)]
    assert all(types[0][name] == types[1][name] for name in types[0].keys() & types[1].keys())


def test_documents_name_no_columns() -> None:
    """A sink puts names into its SQL, and not every one quotes them well."""
    (plain, odd) = (for_connect(result(metadata=metadata)) for metadata in ({}, {'x" text; drop table y; --': 1}))
    assert plain["schema"] == odd["schema"]


@given(text=st.lists(st.sampled_from(["\0", "\\", "\\u0000", "ä"])).map("".join), deep=st.booleans())
def test_no_text_of_connect_has_a_nul(text: str, deep: bool) -> None:  # noqa: FBT001 - drawn
    """PostgreSQL takes none, neither in a text nor in JSON. All else stays."""
    sent = for_connect(result(outputs={"summary": [text] if deep else text}))["payload"]["summary"]
    (found,) = json.loads(sent) if deep else [sent]
    assert found == text.replace("\0", "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize(
    ("outputs", "topic"),
    [
        ({"urgency": "high"}, "alerts"),
        ({"urgency": "low"}, "results"),
        ({"urgency": "low", "tags": ["x", "legal"]}, "lawyers"),
        ({"urgency": "high", "tags": ["legal"]}, "alerts"),
        ({}, "results"),
    ],
)
def test_a_result_goes_where_its_first_routed_answer_leads(outputs: dict[str, Any], topic: str) -> None:
    """A choice by its label, a list by each of its items. Others go to the result topic."""
    writer = ResultWriter(topic="results", routes={"urgency": {"high": "alerts"}, "tags": {"legal": "lawyers"}})
    assert writer.topic_of(result(outputs=outputs)) == topic
