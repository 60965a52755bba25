"""What the queues want of the limits that all replicas share, and what is granted to them. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from consumer.admission.holding import STOCK_SECONDS, Claim, Grant, Holding
from consumer.admission.lane import Lane, Waiter
from consumer.admission.lanes import Lanes
from consumer.admission.quota import Quota


class Claims:
    """Those of all lanes, by the keys of their quotas.

    `own_wait` says how many seconds a call has to wait for what is no other replica's affair, and whether that is a
    pause of its model or of the budget. Nothing is asked for one that has to wait for longer than about the time that
    it takes to ask again.
    """

    def __init__(self, *, lanes: Lanes, own_wait: Callable[[Lane, Waiter, float], tuple[float, bool]]) -> None:
        self._lanes = lanes
        self._own_wait = own_wait
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
        for head, lane in sorted(heads, key=lambda found: found[0].number):
            seconds, is_paused = self._own_wait(lane, head, now)
            if is_paused and seconds > STOCK_SECONDS:
                continue  # its model or the budget is; no limit is kept from others for it
            if held.intersection(lane.quotas) or seconds > STOCK_SECONDS:
                held.update(lane.shared)  # whoever came first has the first claim to them: they would only lie about
            else:
                _line_up(lane, {quota: queues[quota] for quota in lane.quotas if quota in queues})
        return {quota.key: queue for quota, queue in queues.items()}


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
