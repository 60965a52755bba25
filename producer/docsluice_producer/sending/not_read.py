"""What of the folders is not read, and why. Pure."""

from collections.abc import Iterator

from docsluice.documents.sources import Selection
from docsluice_producer.command_line.numbers import counted

_SHOWN_SUFFIXES = 8
_SHOWN_ENTRIES = 20


def not_read(selection: Selection) -> Iterator[str]:
    """Lines for the end of `send`: files of no known kind by suffix, and entries that are no files of their folder."""
    files = selection.unread.total()
    if files:
        suffixes = [f"{suffix or 'no suffix'} {count:,}" for suffix, count in selection.unread.most_common()]
        more = ", …" if len(suffixes) > _SHOWN_SUFFIXES else ""
        named = ", ".join(selection.unread_names) + (", …" if files > len(selection.unread_names) else "")
        yield (
            f"{counted(files, 'file')} of no known kind in the folders, not read"
            f" ({', '.join(suffixes[:_SHOWN_SUFFIXES])}{more}): {named}"
        )
    skipped = selection.skipped
    for line in skipped[:_SHOWN_ENTRIES]:
        yield f"{line}: not read"
    if len(skipped) > _SHOWN_ENTRIES:
        yield f"{len(skipped) - _SHOWN_ENTRIES:,} more not read"
