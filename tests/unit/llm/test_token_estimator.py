"""Guesses of what a call will take, and how they learn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import Usage
from docsluice_consumer.llm.token_estimator import TokenEstimator
from tests.fakes.samples import chat_request


def test_the_first_guess() -> None:
    """Four bytes a token, and an answer of 256 tokens unless it is bounded lower."""
    request = chat_request("x" * (4000 - len("Answer.")))
    assert request.input_bytes == 4000
    assert TokenEstimator().estimate(request) == Usage(input_tokens=1000, output_tokens=256)


@pytest.mark.parametrize(("bound", "expected"), [(50, 50), (4000, 256), (None, 256)])
def test_the_bound_on_output_is_no_guess(bound: int | None, expected: int) -> None:
    """Reserving a large bound would leave most of a quota unused. A small one can never be passed."""
    assert TokenEstimator().estimate(chat_request(max_output_tokens=bound)).output_tokens == expected


def test_bytes_are_counted_and_not_characters() -> None:
    """Languages with long letters have as many tokens as bytes suggest."""
    latin, thai = (TokenEstimator().estimate(chat_request(letter * 1000)).input_tokens for letter in "xก")
    assert thai > 2.5 * latin


def test_it_learns_how_long_a_token_is() -> None:
    """The first report is believed. Later ones move the guess slowly."""
    estimator, request = TokenEstimator(), chat_request("x" * 2993)
    estimator.learn(request, Usage(input_tokens=1500, output_tokens=10))
    assert estimator.estimate(request).input_tokens == 1500
    estimator.learn(request, Usage(input_tokens=750, output_tokens=10))
    assert estimator.estimate(request).input_tokens == pytest.approx(3000 / 2.2, abs=1)


def test_each_model_has_its_own_tokens() -> None:
    """What one model's tokenizer does says nothing of another's."""
    estimator = TokenEstimator()
    estimator.learn(chat_request("x" * 993, model="a"), Usage(input_tokens=1000, output_tokens=1))
    assert estimator.estimate(chat_request("x" * 993, model="b")).input_tokens == 250


def test_output_is_the_ninetieth_percentile_of_that_step() -> None:
    """One answer in ten may be longer than what was reserved. A step's answers say nothing of another's."""
    estimator = TokenEstimator()
    for tokens in range(1, 101):
        estimator.learn(chat_request(step="summary"), Usage(input_tokens=10, output_tokens=tokens))
    assert estimator.estimate(chat_request(step="summary")).output_tokens == 91
    assert estimator.estimate(chat_request(step="keywords")).output_tokens == 256
    assert estimator.estimate(chat_request(step="summary", model="other")).output_tokens == 256


def test_what_was_learned_is_cut_to_the_bound() -> None:
    """An answer that was given more room than usual says nothing of one that is not: it can never be as long."""
    estimator = TokenEstimator()
    for bound in [50, 50, 50, 50, 200] * 10:
        request = chat_request(max_output_tokens=bound)
        estimator.learn(request, Usage(input_tokens=10, output_tokens=bound))
    assert estimator.estimate(chat_request(max_output_tokens=50)).output_tokens == 50
    assert estimator.estimate(chat_request(max_output_tokens=200)).output_tokens == 200


def test_old_answers_are_forgotten() -> None:
    """After a change of what is read, two hundred answers later the guess is about the new ones only."""
    estimator = TokenEstimator()
    for tokens in [1000] * 500 + [10] * 200:
        estimator.learn(chat_request(), Usage(input_tokens=10, output_tokens=tokens))
    assert estimator.estimate(chat_request()).output_tokens == 10


def test_a_server_that_counts_nothing_teaches_nothing() -> None:
    """No division by the zero that it reports."""
    estimator = TokenEstimator()
    before = estimator.estimate(chat_request()).input_tokens
    estimator.learn(chat_request(), Usage())
    assert estimator.estimate(chat_request()) == Usage(input_tokens=before, output_tokens=1)


@given(st.lists(st.tuples(st.text(max_size=500), st.integers(0, 10**7), st.integers(0, 10**6)), max_size=30))
def test_a_guess_is_always_at_least_a_token(history: list[tuple[str, int, int]]) -> None:
    """Whatever the provider has reported, a call is never taken for nothing."""
    estimator = TokenEstimator()
    for text, read, written in history:
        estimator.learn(chat_request(text), Usage(input_tokens=read, output_tokens=written))
        guess = estimator.estimate(chat_request(text))
        assert guess.input_tokens >= 1
        assert guess.output_tokens >= 1


@given(ratio=st.floats(0.6, 15), sizes=st.lists(st.integers(200, 20_000), min_size=30, max_size=60))
def test_it_comes_close(ratio: float, sizes: list[int]) -> None:
    """With a steady tokenizer the guess is within a few tokens, so that a limit is neither passed nor left unused."""
    estimator = TokenEstimator()
    for size in sizes:
        request = chat_request("x" * size)
        estimator.learn(request, Usage(input_tokens=max(1, round(request.input_bytes / ratio)), output_tokens=5))
    last = chat_request("x" * sizes[0])
    assert estimator.estimate(last).input_tokens == pytest.approx(last.input_bytes / ratio, rel=0.1, abs=2)


@pytest.mark.parametrize("usage", [Usage(input_tokens=10**7, output_tokens=10**7), Usage(input_tokens=1)])
def test_an_odd_count_turns_no_document_away(usage: Usage) -> None:
    """However many tokens a provider says it has counted, texts have between half a byte and sixteen for each."""
    estimator, request = TokenEstimator(), chat_request("x" * 1_000, max_output_tokens=100)
    estimator.learn(request, usage)
    estimate = estimator.estimate(request)
    assert request.input_bytes / 16 <= estimate.input_tokens + 1 <= request.input_bytes * 2 + 1
    assert estimate.output_tokens <= 100
