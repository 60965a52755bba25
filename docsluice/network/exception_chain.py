"""The chain of causes of an error. Pure."""

from __future__ import annotations

from collections.abc import Iterator


def causes(error: BaseException, *, with_contexts: bool = False) -> Iterator[BaseException]:
    """Yield the error, its cause, and so on. A cycle ends it.

    With `with_contexts`, an error without a cause is followed by the one that was being handled when it was raised.
    """
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (one.__context__ if with_contexts else None)
