"""Very many result ids in little memory. Pure."""

from array import array

REMEMBERED = 10_000_000
"""The most ids, about 90 MB. Memory must not grow with a topic."""
_BITS_OF_KEY = 64
_BITS_OF_BUCKET = 16


class RememberedIds:
    """A set of result ids (hashes in hexadecimal digits) that keeps eight bytes of each.

    The chance of mistaking a document for one of ten million others is one in two million million.
    """

    def __init__(self) -> None:
        self._count = 0
        self._buckets: dict[int, array[int]] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, result_id: str) -> bool:
        key = _key(result_id)
        return key in self._buckets.get(key >> _BITS_OF_KEY - _BITS_OF_BUCKET, ())

    @property
    def is_full(self) -> bool:
        """Whether no more ids are remembered."""
        return self._count >= REMEMBERED

    def add(self, result_id: str) -> None:
        """Remember one, while there is room."""
        if self.is_full or result_id in self:
            return
        key = _key(result_id)
        # A set would take nine times the memory. With ten million ids a bucket has 150, which are searched quickly.
        self._buckets.setdefault(key >> _BITS_OF_KEY - _BITS_OF_BUCKET, array("Q")).append(key)
        self._count += 1


def _key(result_id: str) -> int:
    return int(result_id[:16], 16)
