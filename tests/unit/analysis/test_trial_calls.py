"""When calls about a text of our own may go out."""

from __future__ import annotations

from docsluice_consumer.analysis.fault_attribution import Way
from docsluice_consumer.analysis.trial_calls import Trials
from docsluice_consumer.model_ref import model_ref

WAY: Way = (model_ref("m"), "summary")


def test_one_at_a_time_on_each_way() -> None:
    """All meanwhile learn from the same one."""
    trials = Trials()
    assert trials.may_begin(WAY, now=0)
    assert not trials.may_begin(WAY, now=0)
    assert trials.may_begin((model_ref("m"), "category"), now=0)
    trials.ended(WAY, is_told=True, now=1)
    assert trials.may_begin(WAY, now=1)


def test_those_that_tell_nothing_become_few() -> None:
    """Each may have been paid for: from ten seconds to a minute lie between them, until one tells something."""
    trials, now, pauses = Trials(), 0.0, []
    for _ in range(5):
        assert trials.may_begin(WAY, now=now)
        trials.ended(WAY, is_told=False, now=now)
        begun = now
        while not trials.may_begin(WAY, now=now):
            now += 1
        trials.ended(WAY, is_told=False, now=begun)
        pauses.append(now - begun)
        now += 100
    assert pauses[0] == 10
    assert max(pauses) <= 61
    trials.may_begin(WAY, now=now)
    trials.ended(WAY, is_told=True, now=now)
    assert trials.may_begin(WAY, now=now)
