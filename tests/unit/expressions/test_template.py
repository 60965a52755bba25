"""Templates: text with values in it, which is never read again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.expressions.expression import Expression, Scope
from docsluice.expressions.interpreter import BadExpression, NoValue
from docsluice.expressions.template import Template, readable

VALUE: dict[str, Any] = {
    "subject": "Fire",
    "n": 17,
    "tags": ["a", "b"],
    "customer": {"id": "c"},
    "evil": "{{ subject }}",
}


def _of(source: str, value: Any = VALUE) -> str:
    return Template(source, names={"key"}).of(Scope(value, {"key": "k"}))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ subject }}\n\n{{ body }}", "Fire\n\n"),
        ("{{subject}}{{n}}", "Fire17"),
        ("No {{ n }}: {{ tags }} of {{ customer }} }}", 'No 17: ["a","b"] of {"id":"c"} }}'),
        ("{ {{ n }} }", "{ 17 }"),
        ("{{ {a: {b: n}} }}", '{"a":{"b":17}}'),
        ("{{{a: {b: n}}}}", '{"a":{"b":17}}'),
        ("{{ '}}' }}|{{ '{{' }}", "}}|{{"),
        ("{{ '\\'}}' }}", "'}}"),
        ('{{ "a}}" || `"}}"` }}', "}}"),
        ("{{ join(', ', tags) }} {{ $key }}", "a, b k"),
        ("{{ missing || 'none' }}", "none"),
        ("{{\n  subject\n}}", "Fire"),
    ],
)
def test_values_are_put_in(source: str, expected: str) -> None:
    """As text. What is not there leaves no trace."""
    assert _of(source) == expected


def test_a_value_is_never_a_template() -> None:
    """It is put in once and not read again."""
    assert _of("{{ evil }}") == "{{ subject }}"


@given(st.text(alphabet="{}'\"`$ a\\"))
def test_any_value_is_put_in_as_it_is(text: str) -> None:
    """Whatever braces and quotes it holds."""
    assert _of("<{{ subject }}>", {"subject": text}) == f"<{text}>"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("Hello {{ name", "has {{ without }} behind it; two braces that are no placeholder are written as {{ '{{' }}"),
        ("{{ 'a }}", "{{ 'a }} is not JMESPath near 'a; names with"),
        ("{{ a }", "has {{ without }} behind it"),
        ("{{ }}", "has {{ }} with nothing in it"),
        ('Answer {{"a": 1}}', '{{ "a": 1 }} is not JMESPath near : 1; names with'),
        ("{{ x | upper }} {{ for }}{{ a b }}", "{{ a b }} is not JMESPath near b"),
        ("{% if x %}{{ $kye }}", "{{ $kye }} has the unknown name $kye; known are $key"),
    ],
)
def test_what_is_no_template_is_told_when_it_is_read(source: str, problem: str) -> None:
    """With the placeholder that is wrong, and how two braces are written."""
    with pytest.raises(BadExpression) as caught:
        Template(source, names={"key"})
    assert str(caught.value).startswith(problem)


@given(st.text(alphabet="{}'\"`$ ab.|[]()\\,:&"))
def test_any_text_is_a_template_or_says_why_not(source: str) -> None:
    """Nothing else is raised, neither when it is read nor when it is filled."""
    try:
        text = _of(source)
    except (BadExpression, NoValue) as problem:
        text = str(problem)
        assert text
    assert "{{" in source or text == source


def test_double_braces_make_a_template() -> None:
    """All else is an expression, whose value keeps its type."""
    assert isinstance(readable("n"), Expression)
    assert isinstance(readable("{{ n }}"), Template)
    assert readable("n").of(Scope(VALUE)) == 17
    assert readable("{{ n }}").of(Scope(VALUE)) == "17"
    assert Template("{{ $key }}{{ n }}", names={"key"}).names == {"key"}


@pytest.mark.parametrize("opening", ["{{", "{{ '", "{{ {", "{{ `", '{{ "'])
def test_a_long_template_is_read_in_linear_time(opening: str) -> None:
    """An opening without an end is looked through once."""
    with pytest.raises(BadExpression):
        Template(opening + "a{ " * 200_000)
