"""Expressions over a record's value, and over what it has beside its value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.expressions.expression import RECORD_NAMES, Expression, Scope, as_text
from docsluice.expressions.interpreter import BadExpression, NoValue, is_true
from docsluice.validation.json_values import json_value
from docsluice.validation.record_bytes import json_object
from tests.fakes.samples import SECRET_TEXT

VALUE: dict[str, Any] = {
    "id": 17,
    "customer": {"id": "c-1", "my name": "A"},
    "items": [{"id": "k", "n": 1}, {"id": "other", "n": 2}],
    "$key": "a field of the value",
    "status": "open",
}
NAMES: dict[str, Any] = {
    "key": "k",
    "headers": {"tenant": "acme", "x-request-id": "r-1", "a b": "c", "none": None},
    "offset": 3,
}


def _of(source: str, value: Any = VALUE) -> Any:
    return Expression(source, names=RECORD_NAMES).of(Scope(value, NAMES))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("id", 17),
        (" customer.id ", "c-1"),
        ('customer."my name"', "A"),
        ("items[0].n", 1),
        ("missing.deeper", None),
        ("missing || 'a default'", "a default"),
        ("$key", "k"),
        ("$offset", 3),
        ("$timestamp", None),
        ("$headers.tenant", "acme"),
        ("$headers . tenant", "acme"),
        ("$headers.x-request-id", "r-1"),
        ('$headers."a b"', "c"),
        ("$headers.none", None),
        ("$headers.Tenant", None),
        ("status == 'open' && $headers.tenant == 'acme'", True),
        ("items[?id == $key].n | [0]", 1),
        ("join('-', [$key, customer.id])", "k-c-1"),
    ],
)
def test_an_expression_reads_the_value_and_what_is_beside_it(source: str, expected: Any) -> None:
    """Also inside brackets, where JMESPath has left the value."""
    assert _of(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("'$key'", "$key"), ("'it\\'s $key'", "it's $key"), ('"$key"', "a field of the value"), ('`"$foo"`', "$foo")],
)
def test_a_dollar_in_quotes_is_a_dollar(source: str, expected: Any) -> None:
    """A string stays a string, and a value may have fields of such names, as MongoDB's do."""
    assert _of(source) == expected


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a[", "is not JMESPath: it ends too early"),
        ("a b", "is not JMESPath near b"),
        ("a.b c $key", 'is not JMESPath near c "$key"'),
        ("a == 'b", "is not JMESPath near 'b"),
        ("", "is not JMESPath: Invalid JMESPath expression: cannot be empty."),
        ("$kye", "has the unknown name $kye; known are $headers, $key, $offset"),
        ("$", "has the unknown name $; known are"),
        ("lenght(a)", "has the unknown function lenght(); known are abs, avg"),
        ("items[?lenght(a)]", "has the unknown function lenght()"),
        ("length()", "gives length() 0 arguments, and it takes 1"),
        ("length(a, b)", "gives length() 2 arguments, and it takes 1"),
        ("not_null()", "gives not_null() 0 arguments, and it takes at least 1"),
        ("(" * 5000, "is nested too deeply"),
    ],
)
def test_what_is_no_expression_is_told_when_it_is_read(source: str, problem: str) -> None:
    """In one line. jmespath itself tells an unknown function only when a record reaches it."""
    with pytest.raises(BadExpression) as caught:
        Expression(source, names=RECORD_NAMES)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_only_the_names_that_are_given_are_known() -> None:
    """A prompt has none."""
    with pytest.raises(BadExpression, match=r"has the unknown name \$key$"):
        Expression("$key")


def test_the_names_that_are_used_are_known() -> None:
    """No others are worked out for a record."""
    assert Expression("items[?id == $key] || $headers.x", names=RECORD_NAMES).names == {"key", "headers"}
    assert Expression("'$key'", names=RECORD_NAMES).names == frozenset()


@pytest.mark.parametrize(
    ("source", "roots"),
    [
        ("a.b", {"a"}),
        ("a[?b == 'c'].d | [0]", {"a"}),
        ("a || b.c", {"a", "b"}),
        ("join(a, [b, c.d])", {"a", "b", "c"}),
        ("{x: a, y: b[*].c}", {"a", "b"}),
        ("'a'", set()),
        ("map(&a, b)", {"b"}),
        ("@", set()),
    ],
)
def test_the_fields_that_are_read_are_known(source: str, roots: set[str]) -> None:
    """Those of the value itself, and not those of what is in it."""
    assert Expression(source).roots == roots


@pytest.mark.parametrize(
    ("source", "value", "problem"),
    [
        ("length(id)", {"id": 5}, "length() takes string or array or object, not number"),
        ("sum(a)", {"a": [SECRET_TEXT]}, "sum() takes array-number, not string"),
        ("a < b", {"a": 1, "b": SECRET_TEXT}, "it cannot be evaluated on this value (TypeError)"),
        ("ceil(a)", {"a": float("inf")}, "it cannot be evaluated on this value (OverflowError)"),
        ("sum(a)", {"a": [1e308, 10**400]}, "it cannot be evaluated on this value (OverflowError)"),
    ],
)
def test_what_does_not_fit_is_told_without_the_value(source: str, value: Any, problem: str) -> None:
    """The value may be the document."""
    with pytest.raises(NoValue) as caught:
        _of(source, value)
    assert str(caught.value) == problem
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_name_that_comes_twice_is_refused_only_where_it_is_read() -> None:
    """Readers of JSON do not agree on which one counts."""
    value = json_value('{"a": 1, "b": {"c": 1, "c": 2}, "a": 2, "d": 3}', object_pairs_hook=json_object)
    assert _of("d", value) == 3
    for source in ("a", "b.c", "missing || @ | a"):
        with pytest.raises(NoValue, match=r"[ac]: is there more than once"):
            _of(source, value)


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    """Where the expression goes through all of it. Elsewhere it makes no difference."""
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    value = {"deep": deep, "too": deep[:], "id": "x"}
    assert _of("id", value) == "x"
    with pytest.raises(NoValue, match="nested too deeply"):
        _of("to_string(deep)", value)
    with pytest.raises(NoValue, match="nested too deeply"):
        as_text(deep)


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_what_is_empty_is_not_true(value: Any) -> None:
    """As in JMESPath."""
    assert not is_true(value)


@pytest.mark.parametrize("value", [True, 0, 0.0, "x", [None], {"a": None}])
def test_all_else_is_true(value: Any) -> None:
    """A zero, too."""
    assert is_true(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("é{{ x }}", "é{{ x }}"),
        (None, ""),
        (True, "true"),
        (17, "17"),
        (0.5, "0.5"),
        (["é", None, {"a": 1}], '["é",null,{"a":1}]'),
    ],
)
def test_a_value_as_text(value: Any, text: str) -> None:
    """A text is itself, and all else is JSON without blanks."""
    assert as_text(value) == text


def test_a_number_that_is_none_is_no_text() -> None:
    """Python reads NaN and Infinity, which are no JSON."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(NoValue, match="not finite"):
            as_text(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
EXPRESSIONS = (
    "a",
    "a.b[0]",
    "a[*].b",
    "a[].b[]",
    "*.a",
    "a[?b > c]",
    "a < b",
    "!a && b || c",
    "length(a)",
    "sum(a)",
    "avg(a)",
    "ceil(a)",
    "abs(a)",
    "join('', a)",
    "sort(a)",
    "sort_by(a, &b)",
    "max_by(a, &b)",
    "map(&to_string(@), a)",
    "to_number(a)",
    "to_string(@)",
    "keys(a)",
    "merge(a, b)",
    "contains(a, b)",
    "reverse(a)",
    "type(a)",
    "starts_with(a, b)",
    "a[::-1]",
    "{x: a, y: $key}",
    "[a, $headers]",
    "values(@)",
    "not_null(a, b)",
    "a[?contains(@, $key)]",
)


@given(value=JSON, source=st.sampled_from(EXPRESSIONS))
def test_any_value_gives_a_value_or_says_why_not(value: Any, source: str) -> None:
    """Whatever a stranger sends, nothing else is raised, and what comes out can be written or is refused."""
    try:
        said = json.dumps(as_text(_of(source, value)))
    except NoValue as problem:
        said = str(problem)[:200]
    assert said
    assert said.isprintable()
