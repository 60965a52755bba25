"""Totals of the outcomes so far, each counted once. Pure."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal

from docsluice.messages import Usage
from docsluice.outcomes.outcome import Outcome, Unreadable
from docsluice.outcomes.seen import REMEMBERED, Seen
from docsluice_producer.following.durations import Durations
from docsluice_producer.following.pace import Pace


@dataclass(slots=True)
class _Runs:
    """What dead letters had cost when they were last seen. The cost of a redriven one includes that."""

    _costs: OrderedDict[tuple[object, ...], tuple[int, Decimal]] = field(default_factory=OrderedDict)

    def not_counted_yet(self, outcome: Outcome) -> Decimal:
        """The part of a dead letter's cost from runs that are not counted yet."""
        source, replays, cost_usd = outcome.fields["source"], outcome.fields["replay_count"] or 0, outcome.cost_usd
        if not source["topic"] or source["offset"] is None:
            return cost_usd
        origin = (*source.values(), outcome.document_id)
        replays_before, cost_before = self._costs.get(origin, (replays, Decimal(0)))
        self._costs[origin] = (replays, cost_usd)
        if len(self._costs) > REMEMBERED:
            self._costs.popitem(last=False)
        # A record that was read again without a redrive starts at 0.
        return max(cost_usd - cost_before, Decimal(0)) if replays > replays_before else cost_usd


_MOST_MODELS = 50
"""Named each. A foreign topic may have any number of them, and memory must not grow."""
OTHER_MODELS = "other models"


@dataclass(slots=True)
class Spent:
    """What the results of one model have used. Several models that answered one document count as one."""

    documents: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)


@dataclass(slots=True, kw_only=True)
class Tally:
    """Totals over the outcomes. A repeat changes `repeats` and nothing else."""

    results: int = 0
    repeats: int = 0
    unreadable: int = 0
    of_other_versions: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)
    costs_left_out: int = 0
    """Impossible costs, which are not in the sum."""
    saved_usd: Decimal = Decimal(0)
    reasons: Counter[str] = field(default_factory=Counter)
    by_model: dict[str, Spent] = field(default_factory=dict)
    by_task: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Answers by task and model."""
    spent_by_task: dict[str, Spent] = field(default_factory=dict)
    """Of results in which each task had calls of its own."""
    durations: Durations = field(default_factory=Durations)
    """Of results, from the first call to the last answer."""
    _pace: Pace = field(default_factory=Pace)
    _seen: Seen = field(default_factory=lambda: Seen(REMEMBERED))
    _runs: _Runs = field(default_factory=_Runs)

    @property
    def dead_letters(self) -> int:
        """Documents that failed."""
        return self.reasons.total()

    @property
    def documents(self) -> int:
        """Documents that have ended, one way or the other."""
        return self.results + self.dead_letters

    @property
    def documents_per_hour(self) -> float | None:
        """The recent rate, see `Pace`. None if there is too little to tell."""
        return self._pace.documents_per_hour

    def add(self, outcome: Outcome) -> bool:
        """Count an outcome. Returns False for a repeat."""
        if not self._seen.add(outcome.identities):
            self.repeats += 1
            return False
        if outcome.is_dead_letter:
            self.reasons[outcome.reason] += 1
            self.cost_usd += self._runs.not_counted_yet(outcome)
        else:
            self.results += 1
            self.cost_usd += outcome.cost_usd
            self._add_by_model(outcome)
        self.costs_left_out += outcome.cost_is_odd
        self.usage += outcome.usage
        self.saved_usd += outcome.saved_usd
        self._pace.add(outcome.finished_at)
        return True

    def _add_by_model(self, outcome: Outcome) -> None:
        self.durations.add(outcome.seconds)
        models = " + ".join(sorted(set(outcome.models.values()))) or OTHER_MODELS
        name = models if models in self.by_model or len(self.by_model) < _MOST_MODELS else OTHER_MODELS
        spent = self.by_model.setdefault(name, Spent())
        spent.documents += 1
        spent.usage += outcome.usage
        spent.cost_usd += outcome.cost_usd
        for task, own in outcome.result.usage_by_task.items() if outcome.result else ():
            if task in self.spent_by_task or len(self.spent_by_task) < _MOST_MODELS:
                spent = self.spent_by_task.setdefault(task, Spent())
                spent.documents += 1
                spent.usage += Usage(input_tokens=own.input_tokens, output_tokens=own.output_tokens)
                spent.cost_usd += own.cost_usd
        for answered in outcome.models.items():
            if answered in self.by_task or len(self.by_task) < _MOST_MODELS:
                self.by_task[answered] += 1

    def add_unreadable(self, unreadable: Unreadable) -> None:
        """Count a record that is no outcome, or none that we can read."""
        if unreadable.of_another_version:
            self.of_other_versions += 1
        else:
            self.unreadable += 1
