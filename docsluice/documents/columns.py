"""Which columns a table must have. Pure."""

from collections.abc import Iterable, Sequence


def lacking(columns: Sequence[str], required: Iterable[str]) -> str:
    """What a table's columns lack, as the end of "the table has …". Empty if nothing."""
    missing = [name for name in dict.fromkeys(required) if name not in columns]
    if not missing:
        return ""
    there = ", ".join(map(repr, filter(None, columns))) or "none"
    return f"no {' and no '.join(map(repr, missing))} (it has {there}): the file is not read"
