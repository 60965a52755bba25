"""What the queues need of the limits that replicas share, and what is granted to them. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from docsluice_consumer.admission.leased_bucket import STOCK_SECONDS, Claim, Grant, LeasedBucket
from docsluice_consumer.admission.model_queue import ModelQueue, Waiter
from docsluice_consumer.admission.model_queues import ModelQueues
from docsluice_consumer.admission.obstacles import Obstacles
from docsluice_consumer.admission.quota import Quota


class LeaseDemand:
    """The demand of all queues, by the keys of their quotas.

    A call also waits for `obstacles` of this replica alone. Nothing is claimed for a call that waits longer
    than about one exchange.
    """

    def __init__(self, *, queues: ModelQueues, obstacles: Obstacles) -> None:
        self._queues = queues
        self._obstacles = obstacles
        self._is_over = False

    def collected(self, *, now: float) -> Mapping[str, Claim]:
        """The claims: what to ask for and what to give back. `granted` or `unanswered` must follow."""
        amounts = {} if self._is_over else self._amounts(now)
        found = {
            key: leased_bucket.claim(amounts.get(key, ()), now=now)
            for key, leased_bucket in self._leased_buckets().items()
        }
        return {key: claim for key, claim in found.items() if claim is not None}

    def nothing(self) -> Mapping[str, Claim]:
        """A claim of nothing on each limit. A server that answers it would answer real ones."""
        return {
            quota.key: Claim(per_minute=quota.whole, wanted=0.0, needed=0.0, returned=0.0)
            for quota in self._queues.quotas()
            if quota.key and quota.whole is not None
        }

    def granted(self, grants: Mapping[str, Grant]) -> None:
        """Take the answer to the claims."""
        for key, leased_bucket in self._leased_buckets().items():
            if key in grants:
                leased_bucket.granted(grants[key])

    def unanswered(self) -> None:
        """Note that the claims were not answered."""
        for leased_bucket in self._leased_buckets().values():
            leased_bucket.unanswered()

    def return_all(self) -> None:
        """Stop claiming: from now on, claims give back what is in hand and ask for nothing."""
        self._is_over = True
        for leased_bucket in self._leased_buckets().values():
            leased_bucket.return_all()

    def _leased_buckets(self) -> Mapping[str, LeasedBucket]:
        return {quota.key: quota.leased_bucket for quota in self._queues.quotas() if quota.key and quota.leased_bucket}

    def _amounts(self, now: float) -> Mapping[str | None, Sequence[float]]:
        """What the next calls will take of each quota, in their order."""
        amounts: dict[Quota, list[float]] = {quota: [] for quota in self._queues.quotas() if quota.leased_bucket}
        heads = [(head, queue) for queue in self._queues if (head := queue.head())]
        limited: set[Quota] = set()
        for head, queue in sorted(heads, key=lambda found: (_lacks_its_own(found[0], found[1], now), found[0].number)):
            obstacle = self._obstacles.longest(queue, head.request, now=now)
            waits = (obstacle.seconds or 0.0) > STOCK_SECONDS
            if limited.intersection(queue.shared) or (waits and obstacle.is_shared):
                # the first call has the first claim to them: grants would only lie about
                limited.update(queue.shared)
            elif not waits:
                _line_up(queue, {quota: amounts[quota] for quota in queue.quotas if quota in amounts})
        return {quota.key: of_one for quota, of_one in amounts.items()}


def _lacks_its_own(head: Waiter, queue: ModelQueue, now: float) -> bool:
    """Whether a call waits for a grant of its own model's limit. Others then go first to what all share."""
    owns = [quota for quota in queue.learned if quota.leased_bucket]
    return any(quota.wait_seconds(head.request, now=now) > 0 for quota in owns)


def _line_up(queue: ModelQueue, amounts: Mapping[Quota, list[float]]) -> None:
    """Add the queue's calls that may go out soon."""
    room = {quota: quota.leased_bucket.stock - sum(of_one) for quota, of_one in amounts.items() if quota.leased_bucket}
    for waiter in queue.waiters:
        if waiter.has_left:
            continue
        for quota, of_one in amounts.items():
            of_one.append(quota.needed(waiter.request))
            room[quota] -= of_one[-1]
        if all(left <= 0 for left in room.values()):
            return
