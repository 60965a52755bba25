"""One limit a minute, from all that is known of it, and the pace that refusals teach."""

from __future__ import annotations

import pytest

from docsluice.messages import Usage
from docsluice_consumer.admission.adaptive_rate import AdaptiveRate
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.admission.model_queue import ModelQueue, learned_quotas
from docsluice_consumer.admission.quota import OUTPUT_TOKENS, REQUESTS, TOKENS, Quota
from docsluice_consumer.errors import RateLimited
from docsluice_consumer.model_ref import model_ref
from docsluice_local.rehearsal.limiter import MinuteLimit


def _of(input_tokens: int, output_tokens: int = 0, *, bound: int | None = 1) -> CallRequest:
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    return CallRequest(model=model_ref("m"), usage=usage, output_bound=bound)


_ONE = _of(1)


def test_no_limit_holds_nothing_back() -> None:
    """Until one is known."""
    quota = Quota(name=REQUESTS, now=0.0)
    assert quota.reserve(_ONE, now=0.0).amount == 0
    assert (quota.wait_seconds(_ONE, now=0.0), quota.per_minute, quota.available(now=0.0)) == (0, None, None)


def test_the_least_that_is_known_counts() -> None:
    """What the provider says lowers what was configured and never raises it. The share is of the lower one."""
    quota = Quota(name=TOKENS, configured=600, now=0.0)
    quota.reported(6000, now=0.0)
    assert (quota.whole, quota.per_minute) == (600, 600)
    quota.reported(300, now=0.0)
    quota.set_share(0.5, now=0.0)
    assert (quota.whole, quota.per_minute) == (300, 150)
    quota.reported(900, now=0.0)
    assert quota.per_minute == 300


def test_a_new_rate_keeps_the_debt() -> None:
    """What was taken is not forgotten when the limit changes, and a burst that was saved up is cut to the new one's."""
    quota = Quota(name=TOKENS, configured=6000, now=0.0)
    quota.reserve(_of(100, bound=0), now=0.0)
    quota.set_share(0.5, now=0.0)
    assert quota.available(now=0.0) == -100
    full = Quota(name=TOKENS, configured=6000, now=0.0)
    assert full.available(now=60.0) == 50
    full.set_share(0.1, now=60.0)
    assert full.available(now=60.0) == 5


def _waits_after_an_answer(quota: Quota, used: float | None) -> float:
    """After a minute of rest, a call with an answer of a second's worth comes and ends. How long the next one waits."""
    reserved = quota.reserve(_of(0, 100, bound=100), now=60.0)
    quota.settle(reserved, used, now=63.0)
    return quota.wait_seconds(_of(1, bound=0), now=63.0)


@pytest.mark.parametrize("used", [100.0, None])
def test_a_limit_on_all_tokens_counts_an_answer_again_at_its_end(used: float | None) -> None:
    """Some providers count it only then. One of unknown size counts as reserved. A limit on output counts it once."""
    assert _waits_after_an_answer(Quota(name=TOKENS, configured=6000, now=0.0), used) == pytest.approx(0.31)
    assert _waits_after_an_answer(Quota(name=TOKENS, configured=6000, now=0.0), 0.0) == 0
    assert _waits_after_an_answer(Quota(name=OUTPUT_TOKENS, configured=6000, now=0.0), used) == 0


def test_a_new_rate_holds_for_both_counts() -> None:
    """What is owed for an answer is paid at it, and what could be taken is the lesser of the two."""
    quota = Quota(name=TOKENS, configured=6000, now=0.0)
    quota.settle(quota.reserve(_of(0, 100, bound=100), now=60.0), 100, now=63.0)
    assert quota.available(now=63.0) == pytest.approx(-30)
    quota.set_share(0.5, now=63.0)
    assert quota.wait_seconds(_of(1, bound=0), now=63.0) == pytest.approx(0.62)


def test_each_name_counts_its_own_unit() -> None:
    """Requests, tokens of either kind, or both together."""
    usage = Usage(input_tokens=30, output_tokens=4)
    amounts = {
        name: Quota(name=name, now=0.0).amount(usage) for name in (REQUESTS, "input_tokens", "output_tokens", TOKENS)
    }
    assert amounts == {"requests": 1, "input_tokens": 30, "output_tokens": 4, "tokens": 34}


def _refused(seconds: int, *, a_second: int = 10) -> AdaptiveRate:
    """So many answers a second, and two refusals: one in the midst, and one at the end."""
    pace = AdaptiveRate()
    for number in range(seconds * a_second):
        pace.answered(now=number / a_second)
        if number == seconds * a_second // 2:
            assert pace.refused(now=number / a_second + 0.01) == 0
    pace.refused(now=float(seconds))
    return pace


def _taught() -> AdaptiveRate:
    """Ten answers a second for ten seconds. A trial has shown that it was a limit."""
    pace = _refused(10)
    pace.judged(is_limit=True, now=11.0)
    return pace


def test_the_pace_is_that_of_the_answers_and_on_trial_a_little_less() -> None:
    """A fifth, and later a tenth. When that has not helped there is none."""
    pace = _refused(10)
    assert pace.per_minute(now=300.0) == pytest.approx(0.8 * 600, rel=0.02)
    pace.judged(is_limit=True, now=300.0)
    assert pace.per_minute(now=300.0) == pytest.approx(600, rel=0.02)
    pace.answered(now=301.0)
    pace.refused(now=302.0)
    later = pace.per_minute(now=302.0) or 0
    pace.judged(is_limit=True, now=310.0)
    assert later == pytest.approx(0.9 * (pace.per_minute(now=310.0) or 0), rel=0.02)
    pace.judged(is_limit=False, now=310.0)
    assert pace.per_minute(now=310.0) is None


def test_nothing_is_learned_before_somebody_was_answered_after_a_refusal() -> None:
    """What came before may have come all at once, a window's worth."""
    pace = AdaptiveRate()
    for hundredth in range(100):
        pace.answered(now=hundredth / 100)
    assert [pace.refused(now=now) for now in (1.0, 2.5)] == [0, 0]
    pace.answered(now=3.0)
    assert pace.refused(now=4.0) == 150
    assert pace.per_minute(now=4.0) == pytest.approx(0.8 * 1500, rel=0.02)


@pytest.mark.parametrize(("a_second", "calls"), [(100, 150), (10, 150), (1, 60)])
def test_a_trial_of_a_low_pace_has_fewer_calls(a_second: int, calls: int) -> None:
    """As many as there are in a minute."""
    pace = AdaptiveRate()
    for number in range(20 * a_second):
        pace.answered(now=number / a_second)
    pace.refused(now=19.5)
    pace.answered(now=20.0)
    assert pace.refused(now=21.0) == pytest.approx(calls, rel=0.1)


def test_a_pace_that_is_hardly_confirmed_grows_fast() -> None:
    """What is believed wrongly is over within a minute. After four trials it takes minutes."""
    pace = _taught()
    learned = pace.per_minute(now=11.0) or 0
    assert (pace.per_minute(now=71.0) or 0) > 2 * learned
    for _ in range(3):
        pace.judged(is_limit=True, now=11.0)
    assert (pace.per_minute(now=71.0) or 0) < 1.06 * learned
    assert (pace.per_minute(now=11.0 + 600) or 0) > 2 * learned


def test_a_pace_that_has_grown_threefold_is_no_longer_confirmed() -> None:
    """After the next trial it grows as fast as one that is new."""
    pace = _taught()
    for _ in range(4):
        pace.judged(is_limit=True, now=11.0)
    now = 11.0 + 900
    assert (pace.per_minute(now=now) or 0) > 3 * 600
    pace.answered(now=now)
    pace.refused(now=now + 1)
    pace.judged(is_limit=True, now=now + 1)
    learned = pace.per_minute(now=now + 1) or 0
    assert (pace.per_minute(now=now + 61) or 0) > 2 * learned


def test_of_a_provider_that_no_longer_answers_no_pace_is_known() -> None:
    """The pause that it asks for is all that can be kept to."""
    pace = AdaptiveRate()
    for second in range(4):
        pace.answered(now=float(second))
    for second in range(4, 60):
        pace.refused(now=float(second))
    assert pace.per_minute(now=60.0) is None


def test_of_a_provider_that_hardly_answers_the_pace_is_known_in_a_minute() -> None:
    """From two answers with refusals between them: its limit is low."""
    pace = AdaptiveRate()
    for second in range(0, 60, 20):
        pace.answered(now=float(second))
        pace.refused(now=second + 10.0)
    assert pace.per_minute(now=50.0) == pytest.approx(1.25, rel=0.2)


def test_calls_refused_together_are_one_lesson() -> None:
    """Thirty that were under way at once do not cut the pace thirty times."""
    pace = _taught()
    learned = pace.per_minute(now=11.0) or 0
    for tenth in range(110, 310, 2):
        pace.answered(now=tenth / 10)
    for _ in range(30):
        pace.refused(now=31.0)
    pace.judged(is_limit=True, now=31.0)
    assert (pace.per_minute(now=31.0) or 0) > 0.9 * learned


def test_a_pace_recovers_within_minutes() -> None:
    """Where all is refused it is not for the pace, so that is hardly cut, and calm brings it back."""
    pace = _taught()
    learned = pace.per_minute(now=11.0) or 0
    for second in range(12, 600):
        pace.refused(now=float(second))
    assert pace.per_minute(now=600.0) == pytest.approx(learned, rel=0.1)
    assert (pace.per_minute(now=600.0 + 900) or 0) > learned
    assert pace.per_minute(now=1e9) is not None


def _queue(configured: float | None) -> ModelQueue:
    model = model_ref("m")
    account = Quota(name=REQUESTS, configured=configured, now=0.0)
    return ModelQueue(model=model, shared=(account,), learned=learned_quotas(model=model, now=0.0))


def _answered_and_refused(limit: MinuteLimit, queue: ModelQueue, *, names_a_pause: bool, until: float) -> list[bool]:
    """Of each call after the first minute, whether it was answered. There is always one more to send."""
    cooldown, now, answered = queue.cooldown, 0.0, []
    while now < until:
        now += max(
            cooldown.wait_seconds(now=now, crowd=16), *(quota.wait_seconds(_ONE, now=now) for quota in queue.quotas)
        )
        cooldown.passed()
        for quota in queue.quotas:
            quota.reserve(_ONE, now=now)
        wait = limit.wait_seconds(now=now)
        if wait > 0:
            fault = RateLimited("429")
            queue.weigh(fault, sent_at=now, now=now)
            if fault.pauses_others:
                cooldown.close(wait if names_a_pause else 1.0, now=now)
                queue.slow_down(now=now)
        else:
            limit.take(1, now=now)
            cooldown.answered()
            queue.keep_pace(sent_at=now, now=now)
        if now > 60:
            answered.append(wait == 0)
        now += 0.005  # sixteen at once, eighty milliseconds each
    return answered


@pytest.mark.long
@pytest.mark.parametrize("true_per_minute", [3, 5, 10, 15, 20, 30, 60, 200, 600, 3000])
@pytest.mark.parametrize("configured", [None, 3.0])
@pytest.mark.parametrize("names_a_pause", [True, False])
def test_a_limit_that_nobody_names_is_found(
    true_per_minute: int, configured: float | None, *, names_a_pause: bool
) -> None:
    """Against a provider that only refuses: after a minute 0.9 of its limit is used, and under 5 % is refused.

    A low limit is told from accidents late, for there are few calls to tell it by: up to eighty are refused.
    """
    limit = MinuteLimit(per_minute=true_per_minute, window_seconds=1.0, now=0.0)
    queue = _queue(configured * true_per_minute if configured else None)
    answered = _answered_and_refused(limit, queue, names_a_pause=names_a_pause, until=600)
    assert sum(answered) >= (0.9 if true_per_minute >= 60 else 0.85) * true_per_minute * 9
    assert answered.count(False) <= max(0.05 * len(answered), 80)


@pytest.mark.parametrize("true_per_minute", [3, 20, 60, 600])
def test_a_limit_that_is_counted_by_the_minute_is_found(true_per_minute: int) -> None:
    """A provider that lets a minute's calls through at once refuses for the rest of it.

    After ten minutes hardly any more.
    """
    limit = MinuteLimit(per_minute=true_per_minute, window_seconds=60.0, now=0.0)
    answered = _answered_and_refused(limit, _queue(None), names_a_pause=False, until=3600)[9 * true_per_minute :]
    assert sum(answered) >= 0.9 * true_per_minute * 49
    assert answered.count(False) <= max(0.045 * len(answered), 30)


def test_an_answers_bound_is_reserved_where_it_is_small() -> None:
    """Providers count it before the call runs. At most half of a burst of it, and at least what is expected."""
    tokens, plenty = Quota(name=TOKENS, configured=60_000, now=0.0), Quota(name=REQUESTS, configured=60_000, now=0.0)
    for bound, output in ((20, 50), (200, 200), (4096, 250), (None, 250)):
        assert tokens.reservation(_of(300, 50, bound=bound)) == (300 + output, output)
    assert plenty.reservation(_of(300, 50, bound=4096)) == (1, 0)


def test_a_limit_that_later_answers_do_not_repeat_is_forgotten() -> None:
    """One answer with a limit of one a minute must not hold everybody for good."""
    quota = Quota(name=REQUESTS, now=0.0, configured=600)
    quota.reported(1, now=0.0)
    quota.not_reported(now=59.0)
    assert quota.whole == 1
    quota.reported(1, now=59.0)
    quota.not_reported(now=60.0)
    assert quota.whole == 1
    quota.not_reported(now=119.0)
    assert quota.whole == 600
    quota.not_reported(now=500.0)
    assert quota.whole == 600
