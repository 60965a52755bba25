"""A store's calls of which any may never return."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.store.deadline import Deadline
from docsluice_consumer.store.step_store import StoreAway

CALLS = st.sampled_from(["answers", "fails", "hangs", "hangs, and answers later", "hangs, and fails later"])


@given(calls=st.lists(st.tuples(CALLS, st.booleans()), min_size=1, max_size=8))
@settings(max_examples=30)
async def test_whatever_hangs_nobody_waits_for_ever(calls: list[tuple[str, bool]]) -> None:
    """Each call ends. While one hangs no other begins, and when it has come back all goes on."""
    deadline, jobs = Deadline(seconds=0.005), list[asyncio.Future[int]]()

    def begin() -> asyncio.Future[int]:
        assert all(job.done() for job in jobs), "a second call on a store that hangs"
        jobs.append(asyncio.get_running_loop().create_future())
        return jobs[-1]

    def come_back(kind: str) -> None:
        if "fail" in kind:
            jobs[-1].set_exception(StoreAway("no room"))
        else:
            jobs[-1].set_result(len(jobs))

    async with asyncio.timeout(60):
        for kind, comes_back in calls:
            hung = bool(jobs) and not jobs[-1].done()
            begun = len(jobs)
            answer = deadline.of(begin)
            assert (len(jobs) == begun) == hung
            if not hung and "hangs" not in kind:
                come_back(kind)
            (end,) = await asyncio.gather(answer, return_exceptions=True)
            assert end == len(jobs) or str(end) in {"no answer within 0.005 seconds", "no room"}
            if not jobs[-1].done() and (comes_back or "later" in kind):
                come_back(kind)
                await asyncio.sleep(0)
        for job in jobs:
            if not job.done():
                job.set_result(0)
        begun = len(jobs)
        answer = deadline.of(begin)
        assert len(jobs) == begun + 1, "it goes on"
        come_back("answers")
        assert await answer == len(jobs)
