"""One limit a minute, from all that is known of it; and the pace that refusals teach."""

from __future__ import annotations

import pytest

from consumer.admission.gate import Gate
from consumer.admission.limits import Ask
from consumer.admission.quota import REQUESTS, TOKENS, Quota
from consumer.admission.refusals import LearnedPace
from consumer.contracts import Usage
from consumer.model_ref import model_ref
from deploy.local.rehearsal.limiter import MinuteLimit


def test_no_limit_holds_nothing_back() -> None:
    """Until one is known."""
    quota = Quota(name=REQUESTS, now=0.0)
    quota.take(10**9, now=0.0)
    assert (quota.wait_seconds(10**9, now=0.0), quota.per_minute, quota.available(now=0.0)) == (0, None, None)


def test_the_least_that_is_known_counts() -> None:
    """What the provider says lowers what was configured and never raises it; the share is of the lower one."""
    quota = Quota(name=TOKENS, configured=600, now=0.0)
    quota.said(6000, now=0.0)
    assert (quota.whole, quota.per_minute) == (600, 600)
    quota.said(300, now=0.0)
    quota.set_share(0.5, now=0.0)
    assert (quota.whole, quota.per_minute) == (300, 150)
    quota.said(900, now=0.0)
    assert quota.per_minute == 300


def test_a_new_rate_keeps_the_debt() -> None:
    """What was taken is not forgotten when the limit changes, and a burst that was saved up is cut to the new one's."""
    quota = Quota(name=TOKENS, configured=6000, now=0.0)
    quota.take(100, now=0.0)
    quota.set_share(0.5, now=0.0)
    assert quota.available(now=0.0) == -100
    full = Quota(name=TOKENS, configured=6000, now=0.0)
    assert full.available(now=60.0) == 50
    full.set_share(0.1, now=60.0)
    assert full.available(now=60.0) == 5


def test_each_name_counts_its_own_unit() -> None:
    """Requests, tokens of either kind, or both together."""
    usage = Usage(input_tokens=30, output_tokens=4)
    amounts = {
        name: Quota(name=name, now=0.0).amount(usage) for name in (REQUESTS, "input_tokens", "output_tokens", TOKENS)
    }
    assert amounts == {"requests": 1, "input_tokens": 30, "output_tokens": 4, "tokens": 34}


def _taught() -> LearnedPace:
    """Ten answers a second for ten seconds, and then two refusals, a second apart."""
    pace = LearnedPace()
    for tenth in range(100):
        pace.answered(now=tenth / 10)
    pace.refused(now=10.0)
    assert pace.per_minute(now=10.0) is None
    pace.refused(now=11.0)
    return pace


def test_one_refusal_teaches_nothing() -> None:
    """It may be jitter, or a neighbour; and so may another one a minute later. One soon after it is no accident."""
    pace = LearnedPace()
    for second in range(600):
        pace.answered(now=float(second))
        if second % 60 == 59:
            pace.refused(now=float(second))
    assert pace.per_minute(now=600.0) is None
    assert _taught().per_minute(now=11.0) == pytest.approx(600, rel=0.1)


def test_of_a_provider_that_no_longer_answers_no_pace_is_known() -> None:
    """The pause that it asks for is all that can be kept to."""
    pace = LearnedPace()
    for second in range(4):
        pace.answered(now=float(second))
    for second in range(4, 60):
        pace.refused(now=float(second))
    assert pace.per_minute(now=60.0) is None


def test_of_a_provider_that_hardly_answers_the_pace_is_known_in_a_minute() -> None:
    """Three refusals in it, with answers between them, are neither jitter nor a neighbour: its limit is low."""
    pace = LearnedPace()
    for second in range(0, 60, 20):
        pace.answered(now=float(second))
        pace.refused(now=second + 10.0)
    assert pace.per_minute(now=50.0) == pytest.approx(3, rel=0.2)


def test_calls_refused_together_are_one_lesson() -> None:
    """Thirty that were under way at once do not cut the pace thirty times."""
    pace = _taught()
    learned = pace.per_minute(now=11.0) or 0
    for tenth in range(110, 310, 2):
        pace.answered(now=tenth / 10)
    for _ in range(30):
        pace.refused(now=31.0)
    assert pace.per_minute(now=31.0) == pytest.approx(learned * 0.93, rel=0.02)


def test_a_pace_recovers_within_minutes() -> None:
    """Where all is refused it is not for the pace, so that is hardly cut, and calm brings it back."""
    pace = _taught()
    learned = pace.per_minute(now=11.0) or 0
    for second in range(12, 600):
        pace.refused(now=float(second))
    assert pace.per_minute(now=600.0) == pytest.approx(learned, rel=0.01)
    assert (pace.per_minute(now=600.0 + 900) or 0) > learned
    assert pace.per_minute(now=1e9) is not None


def _answered_and_refused(limit: MinuteLimit, quotas: list[Quota], *, names_a_pause: bool, until: float) -> list[bool]:
    """Of each call after the first minute, whether it was answered. There is always one more to send."""
    gate, now, answered = Gate(), 0.0, []
    while now < until:
        now += max(gate.wait_seconds(now=now, crowd=16), *(quota.wait_seconds(1, now=now) for quota in quotas))
        gate.passed()
        for quota in quotas:
            quota.take(1, now=now)
        wait = limit.wait_seconds(now=now)
        if wait > 0:
            gate.close(wait if names_a_pause else 1.0, now=now)
            quotas[1].refused(now=now)
        else:
            limit.take(1, now=now)
            gate.answered()
            quotas[1].answered(now=now)
        if now > 60:
            answered.append(wait == 0)
        now += 0.005  # sixteen at once, eighty milliseconds each
    return answered


@pytest.mark.parametrize("true_per_minute", [3, 5, 10, 15, 20, 30, 60, 200, 600, 3000])
@pytest.mark.parametrize("configured", [None, 3.0])
@pytest.mark.parametrize("names_a_pause", [True, False])
def test_a_limit_that_nobody_names_is_found(
    true_per_minute: int, configured: float | None, *, names_a_pause: bool
) -> None:
    """Against a provider that only refuses: after a minute 0.9 of its limit is used, and under 1 % is refused.

    Where that is less than a call or two, those that it takes to find out: four in ten minutes.
    """
    limit = MinuteLimit(per_minute=true_per_minute, window_seconds=1.0, now=0.0)
    asked = configured * true_per_minute if configured else None
    quotas = [Quota(name=REQUESTS, configured=asked, now=0.0), Quota(name=REQUESTS, now=0.0, learns_pace=True)]
    answered = _answered_and_refused(limit, quotas, names_a_pause=names_a_pause, until=600)
    assert sum(answered) >= (0.9 if true_per_minute >= 60 else 0.85) * true_per_minute * 9
    assert answered.count(False) <= max(0.01 * len(answered), 4)


@pytest.mark.parametrize("true_per_minute", [3, 20, 60, 600])
def test_a_limit_that_is_counted_by_the_minute_is_found(true_per_minute: int) -> None:
    """Whoever lets through a minute's calls at once refuses for the rest of it; after ten of them hardly any more."""
    limit = MinuteLimit(per_minute=true_per_minute, window_seconds=60.0, now=0.0)
    quotas = [Quota(name=REQUESTS, now=0.0), Quota(name=REQUESTS, now=0.0, learns_pace=True)]
    answered = _answered_and_refused(limit, quotas, names_a_pause=False, until=3600)[9 * true_per_minute :]
    assert sum(answered) >= 0.9 * true_per_minute * 49
    assert answered.count(False) <= max(0.02 * len(answered), 8)


def test_an_answers_bound_is_reserved_where_it_is_small() -> None:
    """Providers count it before the call runs; but no more than a quarter of a burst, and no less than is expected."""
    tokens, plenty = Quota(name=TOKENS, configured=60_000, now=0.0), Quota(name=REQUESTS, configured=60_000, now=0.0)
    usage = Usage(input_tokens=300, output_tokens=50)
    for bound, reserved in ((None, 350), (20, 350), (200, 500), (4096, 550)):
        assert tokens.reservation(Ask(model=model_ref("m"), usage=usage, output_bound=bound)) == reserved
    assert plenty.reservation(Ask(model=model_ref("m"), usage=usage, output_bound=4096)) == 1


def test_a_limit_that_later_answers_do_not_repeat_is_forgotten() -> None:
    """One answer with a limit of one a minute must not hold everybody for good."""
    quota = Quota(name=REQUESTS, now=0.0, configured=600)
    quota.said(1, now=0.0)
    quota.not_said(now=59.0)
    assert quota.whole == 1
    quota.said(1, now=59.0)
    quota.not_said(now=60.0)
    assert quota.whole == 1
    quota.not_said(now=119.0)
    assert quota.whole == 600
    quota.not_said(now=500.0)
    assert quota.whole == 600
