"""The table of `make bench-limits`: what its rows are made of, and when a run of it has failed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from docsluice_consumer.admission import budget
from docsluice_local.process import ChildFailedError
from docsluice_local.rehearsal.call_log import Call
from tests.bench.limits import __main__ as program
from tests.bench.limits import short_hours
from tests.bench.limits.audit import NothingToAuditError, Span
from tests.bench.limits.consumers import ROOT
from tests.bench.limits.documents import documents, tokens_of
from tests.bench.limits.registry import ROWS
from tests.bench.limits.row import COLUMNS, Bench, Result, Row, misses
from tests.bench.limits.rows import of_outages
from tests.bench.limits.run import GaveUpError


def _result(*missed: str) -> Result:
    return Result(
        allowed="600 requests a minute",
        used=0.98765,
        refused=1_234,
        ended=5,
        dead_letters=6,
        figures="a figure",
        misses=missed,
    )


def _play(outcome: Result | Exception) -> Callable[[Bench], Coroutine[None, None, Result]]:
    async def play(_: Bench) -> Result:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return play


@pytest.fixture
def exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Run the program with rows that come out as they are told to."""

    def run(*arguments: str, **outcomes: Result | Exception) -> int:
        monkeypatch.setattr(program, "_LOGS", tmp_path / "logs")
        monkeypatch.setattr(program, "ROWS", {name: Row(name=name, play=_play(o)) for name, o in outcomes.items()})
        monkeypatch.setattr(sys, "argv", ["limits", *arguments])
        return program.main()

    monkeypatch.setenv("DOCSLUICE_MODEL", "a person's own")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("aiokafka").level
    yield run
    logging.getLogger("aiokafka").setLevel(level)


def test_a_row_says_what_was_found() -> None:
    """One cell for each column, figures in words, and the verdict at the end."""
    assert _result().cells("requests") == [
        *("requests", "600 requests a minute", "0.988", "1,234", "5", "6", "a figure", "met")
    ]
    assert _result("too slow", "too many").cells("requests")[-1] == "MISSED: too slow; too many"
    assert len(_result().cells("requests")) == len(COLUMNS)


def test_only_missed_targets_are_told() -> None:
    """In their order. None when all were met."""
    assert misses((True, "a"), (False, "b"), (True, "c"), (False, "d")) == ("b", "d")
    assert misses((True, "a")) == ()


def test_the_exit_code_says_whether_all_targets_were_met(
    exit_code: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """One miss is enough, and the rows after it are played all the same."""
    assert exit_code(one=_result(), two=_result()) == 0
    assert exit_code(one=_result("too slow"), two=_result()) == 1
    assert capsys.readouterr().out.count("two …") == 2


@pytest.mark.parametrize(
    "problem",
    [
        ChildFailedError("consumer ended with code 2 before it was ready:\na line\nthe last line"),
        GaveUpError("it stands"),
        NothingToAuditError("no calls"),
        ConnectionRefusedError("nobody there"),
    ],
)
def test_a_row_that_cannot_be_played_has_failed(
    exit_code: Callable[..., int], capsys: pytest.CaptureFixture[str], problem: Exception
) -> None:
    """It is shown with its reason, and the others are played."""
    assert exit_code(broken=problem, good=_result()) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "FAILED: " + " ".join(str(problem).splitlines()[:: 2 if "\n" in str(problem) else 1]) in shown
    assert "good …" in shown


def test_a_persons_own_settings_are_left_behind(exit_code: Callable[..., int]) -> None:
    """Neither the environment nor a .env file reaches the consumers, and the modules are this checkout's."""
    began_in = Path.cwd()
    assert exit_code(one=_result()) == 0
    assert not any(name.startswith("DOCSLUICE_") for name in os.environ)
    assert os.environ["PYTHONPATH"] == str(ROOT)
    assert Path.cwd() != began_in


def test_a_bug_of_the_benchmark_is_no_missed_target(exit_code: Callable[..., int]) -> None:
    """It is raised, not shown as a figure of the consumer's."""
    with pytest.raises(KeyError):
        exit_code(buggy=KeyError("oops"))


def test_rows_are_chosen_by_name(exit_code: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """One that does not exist is refused before anything runs."""
    assert exit_code("two", one=_result("too slow"), two=_result()) == 0
    with pytest.raises(SystemExit) as ended:
        exit_code("three", one=_result())
    assert ended.value.code == 2
    assert "must be of one" in capsys.readouterr().err


def test_a_row_is_found_by_its_own_name() -> None:
    """No two rows share one."""
    assert all(row.name == name for name, row in ROWS.items())
    assert {"requests", "input-tokens", "output-tokens", "tokens", "concurrency", "mixed-sizes"} <= ROWS.keys()


def test_documents_are_the_same_for_the_same_seed() -> None:
    """No two of a run are alike, and their lengths are of every order of magnitude between the bounds."""
    made = documents(300, tokens=(100, 20_000))
    assert made == documents(300, tokens=(100, 20_000))
    assert made != documents(300, tokens=(100, 20_000), seed=1)
    assert len(set(made.values())) == len(set(documents(300, tokens=(5, 6)).values())) == 300
    lengths = [tokens_of(text) for text in made.values()]
    assert min(lengths) >= 100
    assert max(lengths) <= 20_000
    for low, high in ((100, 1_000), (1_000, 10_000), (10_000, 20_000)):
        assert sum(low <= length <= high for length in lengths) > 20


def test_an_hour_is_short_before_the_consumer_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its budget is one of 30 seconds, and its exit code is passed on."""
    monkeypatch.setattr(budget, "HOUR_SECONDS", budget.HOUR_SECONDS)
    seen: list[float] = []

    def consume() -> int:
        seen.append(budget.HOUR_SECONDS)
        return 7

    monkeypatch.setattr("docsluice_consumer.__main__.main", consume)
    assert short_hours.main() == 7
    assert seen == [short_hours.HOUR_SECONDS] == [30.0]


def test_a_burst_after_an_outage_is_no_recovery() -> None:
    """A second that is full of what was saved up does not hide that half the rate is missing from then on."""

    def call(at: float) -> Call:
        return Call(started_at=at, ended_at=at + 0.3, in_flight=1, status=200, attempt=1)

    before = [call(1_000 + n / 40) for n in range(400)]
    burst = [call(1_070.5 + n / 100) for n in range(40)]
    slow = [call(1_071 + n / 20) for n in range(400)]
    recovery = of_outages._recovery([*before, *burst, *slow], Span(begin=1_010, end=1_070))
    assert recovery.seconds is not None
    assert recovery.seconds < 1.5
    assert recovery.before == pytest.approx(1.0, abs=0.01)
    assert recovery.after == pytest.approx(0.5, abs=0.01)
