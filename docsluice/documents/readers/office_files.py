"""What Word, PowerPoint and Excel files share: each is a ZIP archive, which may unfold to gigabytes."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from docsluice.documents.entries import Unreadable
from docsluice.validation.signatures import format_of

MOST_UNFOLDED_BYTES = 512 * 1024 * 1024
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"


def check_archive(file: IO[bytes], *, part: str, called: str) -> None:
    """Refuse what is no such file, by its beginning and its list of parts. Nothing is unfolded.

    Raises:
        Unreadable: it is something else, has no `part`, or is too large unfolded.
    """
    start = file.read(8)
    file.seek(0)
    if start.startswith(_OLD_OFFICE):
        raise Unreadable(f"it is {called} with a password, or of the kind before 2007: save it anew without")
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        what = f"it is {named}, not {called}" if not start.startswith(b"PK") and (named := format_of(start)) else ""
        raise Unreadable(what or f"it is damaged, or not {called}") from error
    finally:
        file.seek(0)
    size = sum(one.file_size for one in parts)
    if size > MOST_UNFOLDED_BYTES:
        most = MOST_UNFOLDED_BYTES // 1024**2
        raise Unreadable(f"it unfolds to {size // 1024**2:,} MiB, more than the {most} MiB that are read")
    if part not in {one.filename for one in parts}:
        raise Unreadable(f"it is a ZIP archive, not {called}")


@contextmanager
def damage_told(called: str) -> Iterator[None]:
    """Whatever a library meets in a damaged file is told in one sentence.

    Raises:
        Unreadable: it met something.
    """
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        raise Unreadable(f"it is damaged, or not {called} ({type(error).__name__})") from error
