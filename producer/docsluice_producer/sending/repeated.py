"""Counts documents with the id of an earlier one. It may be intended, but is paid for twice. Pure."""

from docsluice_producer.command_line.numbers import counted, printable

REMEMBERED = 1_000_000
"""The most ids, about 70 MB. Memory must not grow with the input."""
_SHOWN = 3


class RepeatedIds:
    """Counts documents whose id came earlier in the same sending.

    It keeps eight bytes of each id, its hash. The chance that two of a million ids share one is one in thirty million.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []
        self._seen: set[int] = set()

    def add(self, document_id: str) -> None:
        """Count one document."""
        key = hash(document_id)
        if key in self._seen:
            self.count += 1
            if len(self._first) < _SHOWN and document_id not in self._first:
                self._first.append(document_id)
        elif len(self._seen) < REMEMBERED:
            self._seen.add(key)

    @property
    def summary(self) -> str:
        """One line for the report of `send`. Empty if there is nothing to say."""
        if not self.count:
            return ""
        have = f"{counted(self.count, 'document')} {'has' if self.count == 1 else 'have'}"
        ids = ", ".join(map(printable, self._first))
        bound = f" (only the first {REMEMBERED:,} ids were compared)" if len(self._seen) == REMEMBERED else ""
        return f"{have} the id of an earlier one, for instance {ids}: each is analysed, and paid for{bound}"
