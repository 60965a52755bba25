"""Whose fault a call's end is."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.analysis.fault_attribution import Blame, CallHistory, Verdict, Way
from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RefusalKind,
)
from docsluice_consumer.model_ref import ModelRef

WAY: Way = (ModelRef("default", "m"), "summary")
OTHER_STEP: Way = (WAY[0], "category")


def refusal(kind: RefusalKind = "unknown", *, is_certain: bool = False) -> CallRefused:
    return CallRefused("403", kind=kind, remedy="see to it", is_certain=is_certain)


class Desk:
    """One way's calls, one after the other unless they are held open."""

    def __init__(self) -> None:
        self.history = CallHistory()
        self.blames: dict[str, Blame] = {}

    def blame(self, document: str, *, max_attempts: int = 5) -> Blame:
        if document not in self.blames:
            self.blames[document] = Blame(history=self.history, max_attempts=max_attempts, document=document)
        return self.blames[document]

    def answered(self, document: str = "sound", *, way: Way = WAY) -> None:
        call = self.history.sent(way)
        self.history.ended(way, call)
        self.history.answered(way, call)
        if document in self.blames:
            self.blames.pop(document).answered()

    def refused(self, document: str, fault: CallRefused | None = None, *, way: Way = WAY) -> Verdict:
        call = self.history.sent(way)
        verdict = self.blame(document).refused(fault or refusal(), way=way, call=call, is_failing=False)
        self.history.ended(way, call)
        return verdict

    def failed(self, document: str, fault: AttemptFailed | None = None, *, is_failing: bool = False) -> bool:
        call = self.history.sent(WAY)
        self.history.ended(WAY, call)
        self.blame(document).failed(fault or ProviderUnavailable("503"), way=WAY, is_failing=is_failing)
        return self.blame(document).is_exhausted


@pytest.mark.parametrize("kind", ["credentials", "permission", "path", "unknown"])
def test_a_refusal_is_the_documents_once_others_were_answered_again_and_again(kind: RefusalKind) -> None:
    """While it is new it is tried again, whatever it is about."""
    desk, verdicts = Desk(), []
    for _ in range(3):
        for _ in range(40):
            desk.answered()
        verdicts.append(desk.refused("odd", refusal(kind)))
    assert verdicts == [Verdict.OPEN, Verdict.OPEN, Verdict.DOCUMENT]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_no_sound_document_is_blamed_for_a_key_that_is_refused_at_random(share: float) -> None:
    """One bad replica of five behind a balancer, or half of all."""
    desk, chance = Desk(), random.Random(5)
    desk.answered()
    key = refusal("credentials", is_certain=True)
    waiting = [f"d{number}" for number in range(500)]
    while waiting:
        document = waiting.pop(0)
        if chance.random() < share:
            assert desk.refused(document, key) is not Verdict.DOCUMENT
            waiting.append(document)
        else:
            desk.answered(document)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_few_sound_documents_are_blamed_for_what_is_refused_at_random(share: float) -> None:
    """One in a thousand at the most, where the words do not tell that it cannot be theirs."""
    desk, chance = Desk(), random.Random(5)
    desk.answered()
    waiting, blamed = [f"d{number}" for number in range(2_000)], 0
    while waiting:
        document = waiting.pop(0)
        if chance.random() < share:
            if desk.refused(document) is Verdict.DOCUMENT:
                blamed += 1
            else:
                waiting.append(document)
        else:
            desk.answered(document)
    assert blamed <= 4


def test_answers_to_calls_of_before_the_refusal_say_nothing() -> None:
    """A key that is revoked ends no call that is under way: what comes back then is no sign that the key is good."""
    desk = Desk()
    desk.answered()
    under_way = desk.history.sent(WAY)
    assert desk.refused("one", refusal("credentials")) is Verdict.OPEN
    desk.history.ended(WAY, under_way)
    desk.history.answered(WAY, under_way)
    assert desk.refused("one", refusal("credentials")) is Verdict.OPEN


@pytest.mark.parametrize("has_answered", [False, True])
def test_several_documents_refused_and_none_answered_is_the_worlds_fault(*, has_answered: bool) -> None:
    """From the third on: they have not all something wrong with them."""
    desk = Desk()
    if has_answered:
        desk.answered()
    verdicts = [desk.refused(document) for document in ("a", "b", "c")]
    assert verdicts == [Verdict.OPEN, Verdict.OPEN, Verdict.WORLD]
    assert desk.refused("a") is Verdict.WORLD
    desk.answered()
    assert desk.refused("a") is Verdict.OPEN


def test_nobody_is_blamed_while_calls_beside_it_may_still_be_answered() -> None:
    """Refusals come fast, and answers slowly."""
    desk = Desk()
    slow = desk.history.sent(WAY)
    assert [desk.refused(document) for document in "abcd"] == [Verdict.OPEN] * 4
    desk.history.ended(WAY, slow)
    desk.history.answered(WAY, slow)
    assert desk.refused("e") is Verdict.OPEN


def test_a_refusal_that_no_document_can_cause_is_the_worlds_at_once() -> None:
    """Such as of the key. Once somebody was answered in this run, it is judged like any other."""
    desk = Desk()
    assert desk.refused("a", refusal("credentials", is_certain=True)) is Verdict.WORLD
    desk.answered()
    assert desk.refused("b", refusal("credentials", is_certain=True)) is Verdict.OPEN


def test_who_is_alone_is_not_judged_without_a_text_of_our_own() -> None:
    """It is wanted from the third refusal on, unless somebody else's call tells."""
    desk, wanted = Desk(), []
    for _ in range(3):
        assert desk.refused("a") is Verdict.OPEN
        wanted.append(desk.blame("a").needs_trial(WAY))
    assert wanted == [False, False, True]
    desk.answered()
    assert not desk.blame("a").needs_trial(WAY)


def test_of_documents_that_fail_alike_none_is_blamed() -> None:
    """One by one, each long before the next."""
    desk = Desk()
    desk.answered()
    verdicts = [desk.refused(document) for document in "abcde" for _ in range(5)]
    assert verdicts == [Verdict.OPEN] * 10 + [Verdict.WORLD] * 15


def test_an_empty_account_is_the_worlds_until_others_are_answered_after_all() -> None:
    """A document that costs more than is left holds nobody back for longer than that."""
    desk, empty = Desk(), QuotaExhausted("402: can only afford 200 tokens")
    verdicts = []
    for _ in range(12):
        call = desk.history.sent(WAY)
        verdicts.append(desk.blame("dear").refused(empty, way=WAY, call=call, is_failing=False))
        desk.history.ended(WAY, call)
        for _ in range(10):
            desk.answered()
    assert verdicts[:2] == [Verdict.WORLD, Verdict.OPEN]
    assert verdicts[-1] is Verdict.DOCUMENT


def test_one_document_that_costs_more_than_is_left_holds_back_nobody_while_others_may_be_answered() -> None:
    """The next one that is turned away while nobody is answered shows that the account is empty."""
    desk, empty = Desk(), QuotaExhausted("402: can only afford 200 tokens")
    desk.history.sent(WAY)  # by another one, and under way
    verdicts = []
    for document in ("dear", "dear", "another"):
        call = desk.history.sent(WAY)
        verdicts.append(desk.blame(document).refused(empty, way=WAY, call=call, is_failing=False))
        desk.history.ended(WAY, call)
    assert verdicts == [Verdict.OPEN, Verdict.OPEN, Verdict.WORLD]


def test_what_one_step_is_refused_another_step_may_be_answered() -> None:
    """A schema that a server does not take is of one step: its documents are not to blame for it."""
    desk = Desk()
    for document in "abc":
        desk.answered(way=OTHER_STEP)
        verdict = desk.refused(document)
    assert verdict is Verdict.WORLD


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60))
def test_no_document_is_blamed_without_reason(calls: list[tuple[str, bool]]) -> None:
    """Somebody was answered after its first refusal, and the world is blamed only where nobody was."""
    desk = Desk()
    refused_at: dict[str, int] = {}
    refused_since: set[str] = set()
    last_answered = -1
    for number, (document, is_refused) in enumerate(calls):
        if not is_refused:
            desk.answered()
            last_answered = number
            refused_since.clear()
            continue
        verdict = desk.refused(document)
        refused_since.add(document)
        first = refused_at.setdefault(document, number)
        if verdict is Verdict.DOCUMENT:
            assert last_answered > first
        if verdict is Verdict.WORLD:
            assert len(refused_since) >= 3
            assert last_answered < first


@pytest.mark.parametrize(("share", "least"), [(0.0, 5), (0.5, 20), (0.9, 100)])
def test_a_failure_counts_as_far_as_others_fare_better(share: float, least: int) -> None:
    """Five in a row are proof while all others are answered, and nothing special while nine in ten fail."""
    desk, chance = Desk(), random.Random(7)
    tries = 0
    while not desk.failed("odd"):
        tries += 1
        for number in range(20):
            while chance.random() < share:
                desk.failed(f"other {tries} {number}")
            desk.answered(f"other {tries} {number}")
    assert tries >= least


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_documents_that_always_fail_do_not_excuse_each_other(share: float) -> None:
    """Nothing of a failure is known to be the provider's until its document is answered."""
    desk, chance = Desk(), random.Random(5)
    waiting, tries, ends = deque[str](), Counter[str](), list[int]()
    for number in range(10_000):
        if len(waiting) < 64:
            waiting.append(f"{'bad' if chance.random() < share else 'good'} {number}")
        document = waiting.popleft()
        if document.startswith("good"):
            desk.answered(document)
        elif desk.failed(document):
            ends.append(tries[document])
        else:
            tries[document] += 1
            waiting.append(document)
    assert len(ends) > 200
    assert max(ends) <= 20


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_no_sound_document_is_blamed_in_a_partial_outage(share: float) -> None:
    """Whatever part of all calls fails: two thousand documents, each tried until it is answered."""
    desk, chance = Desk(), random.Random(11)
    waiting = [f"d{number}" for number in range(2_000 if share < 0.99 else 300)]
    while waiting:
        document = waiting.pop(0)
        if chance.random() < share:
            assert not desk.failed(document), document
            waiting.append(document)
        else:
            desk.answered(document)


def test_failures_of_an_outage_never_count() -> None:
    """While nobody is answered, or the model is known to fail everybody."""
    desk = Desk()
    for _ in range(100):
        desk.answered()
    assert not any(desk.failed("a") for _ in range(1_000))
    for _ in range(100):
        assert not desk.failed("a", is_failing=True)
        desk.answered()


def test_an_answer_that_cannot_be_read_is_a_full_attempt_while_others_are_answered() -> None:
    """It may have been paid for, so it needs no further proof."""
    desk, ends = Desk(), []
    for _ in range(6):
        ends.append(desk.failed("a", AnswerUnreadable("HTML")))
        desk.answered()
    assert ends == [False] * 5 + [True]


def test_answers_that_cannot_be_read_end_even_where_nobody_is_answered() -> None:
    """After four times the attempts: nothing is paid for without a bound, and a short outage blames nobody."""
    desk = Desk()
    ends = [desk.failed("a", AnswerUnreadable("HTML"), is_failing=True) for _ in range(20)]
    assert ends == [False] * 19 + [True]


def test_documents_that_wait_for_their_timeouts_together_fail_alone() -> None:
    """The calls of each are in flight while the other's fail, and tell nothing."""
    desk = Desk()
    desk.history.sent(WAY)
    told = []
    for _ in range(6):
        told.append(desk.blame("slow").fails_alone(WAY))
        desk.failed("slow", CallTimedOut("slow"))
    assert told == [False] * 5 + [True]


def test_a_429_counts_as_the_documents_own_once_others_were_answered_between() -> None:
    """And only its first one can tell something of the pace of all calls."""
    desk, faults = Desk(), [RateLimited("429") for _ in range(4)]
    for fault in faults:
        desk.blame("a").overloaded(fault, way=WAY)
        desk.answered()
    assert [fault.times_alone for fault in faults] == [0, 1, 2, 3]
    assert [fault.teaches for fault in faults] == [True, False, False, False]


def test_a_429_while_nobody_is_answered_is_not_the_documents_own() -> None:
    """However often it comes back."""
    desk, faults = Desk(), [RateLimited("429") for _ in range(4)]
    for fault in faults:
        desk.blame("a").overloaded(fault, way=WAY)
    assert [fault.times_alone for fault in faults] == [0, 0, 0, 0]


def test_a_failure_tells_of_the_document_alone_once_others_were_answered_since_its_last() -> None:
    """So documents that always fail cannot make others wait, however many they are."""
    desk, told = Desk(), []
    for _ in range(3):
        for document in ("a", "b"):
            fault = ProviderUnavailable("500")
            desk.failed(document, fault)
            told.append(fault.speaks_of_document)
        desk.answered()
    assert told == [False, False, True, True, True, True]
    outage = [ProviderUnavailable("500") for _ in range(2)]
    for fault in outage:
        desk.failed("a", fault)
    assert [fault.speaks_of_document for fault in outage] == [True, False]


@pytest.mark.parametrize("other_is_answered", [True, False])
def test_a_step_is_refused_alone_where_other_steps_are_answered_since(*, other_is_answered: bool) -> None:
    """An answer that came before the refusals says nothing."""
    desk = Desk()
    desk.answered(way=OTHER_STEP)
    for number in range(3):
        desk.refused(f"d{number}")
    if other_is_answered:
        desk.answered(way=OTHER_STEP)
    assert desk.history.answers_other_steps(WAY) is other_is_answered
    assert not desk.history.answers_other_steps(OTHER_STEP)
