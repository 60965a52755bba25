"""What the queues want of the limits that all replicas share, and what is granted to them. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from docsluice_consumer.admission.leased_bucket import STOCK_SECONDS, Claim, Grant, Holding
from docsluice_consumer.admission.limits import Ask
from docsluice_consumer.admission.model_queue import Lane, Obstacle, Waiter
from docsluice_consumer.admission.model_queues import Lanes
from docsluice_consumer.admission.quota import Quota


class Claims:
    """Those of all lanes, by the keys of their quotas.

    `longest_wait` says what a call has to wait for that is no other replica's affair. Nothing is asked for one that has
    to wait for longer than about the time that it takes to ask again.
    """

    def __init__(self, *, lanes: Lanes, longest_wait: Callable[[Lane, Ask, float], Obstacle]) -> None:
        self._lanes = lanes
        self._longest_wait = longest_wait
        self._is_over = False

    def collected(self, *, now: float) -> Mapping[str, Claim]:
        """What to ask for and what to give back; `granted` or `unanswered` must follow."""
        queues = {} if self._is_over else self._queues(now)
        found = {key: holding.claim(queues.get(key, ()), now=now) for key, holding in self._holdings().items()}
        return {key: claim for key, claim in found.items() if claim is not None}

    def nothing(self) -> Mapping[str, Claim]:
        """A claim of nothing on each limit: whoever answers it would answer others."""
        return {
            quota.key: Claim(per_minute=quota.whole, wanted=0.0, needed=0.0, returned=0.0)
            for quota in self._lanes.quotas()
            if quota.key and quota.whole is not None
        }

    def granted(self, grants: Mapping[str, Grant]) -> None:
        """The answer to them."""
        for key, holding in self._holdings().items():
            if key in grants:
                holding.granted(grants[key])

    def unanswered(self) -> None:
        """Nobody has answered."""
        for holding in self._holdings().values():
            holding.unanswered()

    def put_down(self) -> None:
        """Nothing more is to go out: from now on, claims give back what is in hand, and ask for nothing."""
        self._is_over = True
        for holding in self._holdings().values():
            holding.put_down()

    def _holdings(self) -> Mapping[str, Holding]:
        return {quota.key: quota.holding for quota in self._lanes.quotas() if quota.key and quota.holding}

    def _queues(self, now: float) -> Mapping[str | None, Sequence[float]]:
        """What the next calls will take of each, in their order."""
        queues: dict[Quota, list[float]] = {quota: [] for quota in self._lanes.quotas() if quota.holding}
        heads = [(head, lane) for lane in self._lanes if (head := lane.head())]
        held: set[Quota] = set()
        for head, lane in sorted(heads, key=lambda found: (_lacks_its_own(found[0], found[1], now), found[0].number)):
            obstacle = self._longest_wait(lane, head.ask, now)
            waits = (obstacle.seconds or 0.0) > STOCK_SECONDS
            if held.intersection(lane.shared) or (waits and obstacle.is_shared):
                held.update(lane.shared)  # whoever came first has the first claim to them: they would only lie about
            elif not waits:
                _line_up(lane, {quota: queues[quota] for quota in lane.quotas if quota in queues})
        return {quota.key: queue for quota, queue in queues.items()}


def _lacks_its_own(head: Waiter, lane: Lane, now: float) -> bool:
    """Whether a call waits for a limit of its model to be granted: others go first, to what all of them want."""
    owns = [quota for quota in lane.learned if quota.holding]
    return any(quota.wait_seconds(quota.reservation(head.ask), now=now) > 0 for quota in owns)


def _line_up(lane: Lane, queues: Mapping[Quota, list[float]]) -> None:
    """Add the lane's calls, as far as they may go out soon."""
    room = {quota: quota.holding.stock - sum(queue) for quota, queue in queues.items() if quota.holding}
    for waiter in lane.waiters:
        if waiter.has_left:
            continue
        for quota, queue in queues.items():
            queue.append(quota.reservation(waiter.ask))
            room[quota] -= queue[-1]
        if all(left <= 0 for left in room.values()):
            return
