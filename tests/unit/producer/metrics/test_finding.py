"""What limits the consumers, told from two looks at their metrics."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.telemetry.catalogue import CONSTRAINTS, PAUSE_REASONS
from docsluice_consumer.telemetry.metrics import Metrics
from docsluice_producer.metrics.finding import PAUSES, WORDS, Finding, Look, finding
from docsluice_producer.metrics.sample import Sample, sample_of

A, B, C = "http://a/metrics", "http://b/metrics", "http://c/metrics"


def sample(
    *paused_for: str, left: float = 0, eta: float | None = None, usd: float = 0, **waited_seconds: float
) -> Sample:
    return Sample(
        waited_seconds=waited_seconds,
        paused_for=frozenset(paused_for),
        backlog_documents=left,
        eta_seconds=eta,
        cost_usd=usd,
    )


def parts(found: Finding) -> list[str]:
    return found.sentence.split(" · ")


def limit(before: Sample, now: Sample) -> str:
    return parts(finding({A: before}, {A: now}))[0]


def backlog(*samples: Sample) -> str:
    look = dict(zip((A, B, C), samples, strict=False))
    return parts(finding(look, look))[-1]


def test_a_sample_is_what_the_consumer_exposes() -> None:
    """Waits, pauses and backlog are read from the consumer's own page."""
    metrics = Metrics()
    for number, constraint in enumerate(CONSTRAINTS):
        metrics.admission_wait_seconds_total.labels(constraint=constraint).inc(number)
    metrics.consumption_paused.labels(reason="circuit").set(1)
    metrics.backlog_documents.set(1_204)
    metrics.backlog_eta_seconds.set(720)
    metrics.backlog_cost_usd.set(0.31)
    assert sample_of(metrics.exposition().decode()) == Sample(
        waited_seconds={constraint: float(number) for number, constraint in enumerate(CONSTRAINTS)},
        paused_for=frozenset({"circuit"}),
        backlog_documents=1_204,
        eta_seconds=720,
        cost_usd=0.31,
    )


@pytest.mark.parametrize(("version", "found"), [("0123456789ab", "0123456789ab"), ("v1", ""), ("", "")])
def test_the_version_is_what_the_consumer_runs(version: str, found: str) -> None:
    """It is in the labels of the consumer's own page. What is no version is none."""
    metrics = Metrics()
    metrics.build_info.labels(version="0.1.0", pipeline_version=version).set(1)
    sample = sample_of(metrics.exposition().decode())
    assert sample is not None
    assert sample.pipeline_version == found


def test_no_pace_is_no_time() -> None:
    """While nothing ends, the consumer says that the time is not a number, and there is none."""
    metrics = Metrics()
    metrics.backlog_eta_seconds.set(math.nan)
    found = sample_of(metrics.exposition().decode())
    assert found is not None
    assert found.eta_seconds is None


def test_a_backlog_that_is_not_known_is_not_taken_for_none() -> None:
    """A replica that has just started does not know its backlog yet."""
    unknown = sample_of(Metrics().exposition().decode())
    assert unknown is not None
    assert unknown.backlog_documents is None
    assert "not known yet" in finding({A: sample()}, {A: unknown}).sentence


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<!doctype html>",
        "process_cpu_seconds_total 1\n",
        'docsluice_consumption_paused{reason="budget"} 1\n',
        "docsluice_backlog_documents{ 1\n",
        "docsluice_backlog_documents many\n",
    ],
)
def test_a_page_of_something_else_is_no_sample(page: str) -> None:
    """Another program's metrics, and what is no metrics at all, are told apart from a consumer's."""
    assert sample_of(page) is None


@given(st.text(), st.sampled_from(["docsluice_backlog_documents", "docsluice_consumption_paused", ""]))
def test_no_page_is_an_error(text: str, name: str) -> None:
    """Whatever an endpoint answers, reading it raises nothing."""
    sample_of(f"{name}{text}")


@given(st.lists(st.floats(), min_size=4, max_size=4))
def test_no_number_is_an_error(numbers: list[float]) -> None:
    """Nor does any number in it."""
    backlog, eta, cost, waited = numbers
    found = sample_of(
        f"docsluice_backlog_documents {backlog}\ndocsluice_backlog_eta_seconds {eta}\n"
        f'docsluice_backlog_cost_usd {cost}\ndocsluice_admission_wait_seconds_total{{constraint="gate"}} {waited}\n'
    )
    if found is not None:
        assert finding({A: sample()}, {A: found, B: found}).sentence


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_every_constraint_is_cause_in_words(constraint: str) -> None:
    """Each constraint of the consumer's catalogue is named, with its share and in words."""
    said = limit(sample(**{constraint: 1.0}), sample(**{constraint: 3.0}))
    assert said == f"limited by {constraint} (100% of the waiting): {WORDS[constraint]}"


def test_every_reason_for_a_pause_is_thought_of() -> None:
    """Each reason of the consumer's catalogue is a limit, but for backpressure, which is none."""
    assert {*PAUSES, "backpressure"} == set(PAUSE_REASONS)


def test_what_grew_fastest_limits() -> None:
    """The growth between the looks counts and not the total. The share is that of all waiting in between."""
    said = limit(sample(tokens=1_000.0, requests=5.0, gate=0.0), sample(tokens=1_002.0, requests=11.0, gate=0.0))
    assert said.startswith("limited by requests (75% of the waiting): ")


def test_nothing_limits_when_nothing_waits() -> None:
    """Without growth there is no limit, whatever the totals are."""
    assert limit(sample(tokens=9.0), sample(tokens=9.0)) == "limited by nothing: no call waits"


def test_a_first_wait_counts_whole() -> None:
    """A constraint that was not there before has grown from nothing."""
    assert limit(sample(), sample(tokens=9.0)).startswith("limited by tokens (100%")


def test_a_replica_that_began_anew_counts_from_its_beginning() -> None:
    """A counter that has shrunk is that of another process, and its whole value is growth."""
    said = limit(sample(tokens=100.0, requests=100.0), sample(tokens=3.0, requests=1.0))
    assert said.startswith("limited by tokens (75%")


def test_a_constraint_that_we_do_not_know_is_named() -> None:
    """A consumer of a later release may have more constraints: their names must do."""
    assert limit(sample(), sample(weather=1.0)) == "limited by weather (100% of the waiting)"


def test_the_first_look_knows_no_limit() -> None:
    """One look has nothing to compare with. The backlog is told all the same."""
    said = parts(finding({}, {A: sample(tokens=9.0, left=2, eta=60, usd=1)}))
    assert said == [
        "what limits is known at the next look",
        "2 documents left to do, done in about 1 min, will cost about $1.00",
    ]


def test_replicas_wait_together() -> None:
    """The growth is summed over the replicas, each compared with itself."""
    before: Look = {A: sample(tokens=100.0, gate=0.0), B: sample(tokens=0.0, gate=50.0), C: "c is away"}
    now = {A: sample(tokens=101.0, gate=3.0), B: sample(tokens=6.0, gate=50.0), C: sample(gate=1_000.0)}
    assert parts(finding(before, now))[0].startswith("limited by tokens (70% of the waiting)")


@pytest.mark.parametrize("reason", PAUSES)
def test_a_pause_is_told_in_words(reason: str) -> None:
    """A replica that reads nothing is limited by the reason for that, and by no other waiting."""
    said = parts(finding({A: sample(gate=1.0)}, {A: sample(reason, gate=5.0, left=1)}))
    assert said == [f"paused by {reason}: {WORDS[reason]}", "1 document left to do"]


def test_backpressure_is_no_limit() -> None:
    """Having read enough is normal with a backlog, and something else limits."""
    assert limit(sample(), sample("backpressure", tokens=1.0)).startswith("limited by tokens")


def test_a_pause_of_some_is_told_beside_what_limits_the_others() -> None:
    """The paused are counted, and only the others' waiting is judged."""
    before = {A: sample(circuit=0.0), B: sample(tokens=0.0), C: sample(tokens=0.0)}
    now = {A: sample("circuit", circuit=99.0), B: sample(tokens=1.0), C: sample(tokens=1.0)}
    assert parts(finding(before, now))[:2] == [
        f"1 of 3 replicas paused by circuit: {WORDS['circuit']}",
        f"limited by tokens (100% of the waiting): {WORDS['tokens']}",
    ]


def test_an_endpoint_that_is_away_is_told_and_not_counted() -> None:
    """The others are told as ever, with a word that one is missing. With none left there is only that word."""
    away = "b:1 does not answer (connection refused)"
    said = parts(finding({A: sample(), B: sample()}, {A: sample(), B: away}))
    assert said == ["limited by nothing: no call waits", "nothing left to do", f"{away}: not counted"]
    assert finding({B: sample()}, {B: away}).sentence == away


def test_backlogs_add_up_and_end_with_the_last() -> None:
    """Documents and dollars are summed. The time is that of the replica that takes longest."""
    said = backlog(sample(left=1_000, eta=60, usd=0.25), sample(left=204, eta=7_500, usd=0.06), sample())
    assert said == "1,204 documents left to do, done in about 2 h 5 min, will cost about $0.31"


def test_no_time_without_a_pace_of_each() -> None:
    """While one replica with a backlog has no pace, the sums would leave it out, and are not told."""
    assert backlog(sample(left=1, eta=60, usd=1), sample(left=1)) == "2 documents left to do"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (95, "1 min 35 s"),
        (599.9, "10 min"),
        (605, "10 min"),
        (3_599, "60 min"),
        (12_000, "3 h 20 min"),
        (100_000, "1 d 4 h"),
        (10**9, "11,574 d"),
    ],
)
def test_a_time_is_as_exact_as_it_can_be_meant(seconds: float, said: str) -> None:
    """A time has at most two units."""
    assert f"done in about {said}, " in backlog(sample(left=1, eta=seconds))


@pytest.mark.parametrize(
    ("usd", "said"),
    [(0, "$0"), (0.000031, "$0.000031"), (0.0042, "$0.0042"), (0.3149, "$0.31"), (1_234.5, "$1,234.50")],
)
def test_a_cost_has_digits_that_say_something(usd: float, said: str) -> None:
    """Dollars have cents, and less than a dollar has two digits."""
    assert backlog(sample(left=1, eta=1, usd=usd)).endswith(f"will cost about {said}")


def test_the_cause_stays_while_only_numbers_change() -> None:
    """Another share or backlog is the same cause. Another constraint, pause or endpoint that is away is not."""
    looks = [{A: sample(tokens=1.0, gate=1.0), B: sample()} for _ in range(2)]
    first = finding(looks[0], {A: sample(tokens=2.0, gate=1.0), B: sample()})
    second = finding(looks[0], {A: sample(tokens=9.0, gate=2.0, left=7), B: sample()})
    assert first.sentence != second.sentence
    assert first.cause == second.cause
    others = [
        finding(looks[0], {A: sample(tokens=1.0, gate=2.0), B: sample()}),
        finding(looks[0], {A: sample(tokens=2.0, gate=1.0), B: "b is away"}),
        finding(looks[0], {A: sample(tokens=2.0, gate=1.0), B: sample("budget")}),
    ]
    assert len({first.cause, *(other.cause for other in others)}) == 4


def test_foreign_names_cannot_move_the_cursor() -> None:
    """A constraint's name comes over the network."""
    assert "\x1b" not in finding({A: sample()}, {A: sample(**{"\x1b[2J": 1.0})}).sentence
