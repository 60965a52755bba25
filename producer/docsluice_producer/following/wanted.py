"""Which outcomes are shown: the failed ones, or those that a condition holds for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from docsluice.expressions.expression import Expression, Scope
from docsluice.expressions.interpreter import BadExpression, NoValue, is_true
from docsluice.outcomes.outcome import Outcome
from docsluice_producer.errors import WrongUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which outcomes are wanted. By default all of them."""

    only_failed: bool = False
    where: Expression | None = None
    """On the fields of an outcome, as a line of JSON has them."""

    def includes(self, outcome: Outcome) -> bool:
        """Whether an outcome is wanted. One that the condition cannot be evaluated on is not."""
        if self.only_failed and not outcome.is_dead_letter:
            return False
        if self.where is None:
            return True
        try:
            return is_true(self.where.of(Scope(outcome.fields)))
        except NoValue:
            return False


ALL = Wanted()


def condition(source: str) -> Expression:
    """A condition in JMESPath.

    Raises:
        WrongUsage: it is none.
    """
    try:
        return Expression(source)
    except BadExpression as problem:
        raise WrongUsage(f"--where: {problem}") from None
