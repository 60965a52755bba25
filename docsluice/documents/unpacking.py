"""Files that are packed with gzip, bzip2, xz or zstd, read as what is in them. Memory does not grow with them."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from io import BufferedReader
from typing import IO, Any, cast

import zstandard

_MOST_WINDOW_BYTES = 128 * 1024 * 1024
"""What zstd may keep in memory. `zstd --long` needs this much. A damaged or hostile file may ask for gigabytes."""


def _zstd(file: IO[bytes]) -> Any:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
    return unpacker.stream_reader(file, read_across_frames=True, closefd=False)


_UNPACKERS: Mapping[bytes, tuple[str, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
}
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zstandard.ZstdError)
"""What the unpackers raise besides `OSError`."""


def unpacked(file: BufferedReader) -> tuple[BufferedReader, str]:
    """The file's content, and what it is packed with. That is empty for a file that is not packed."""
    start = file.peek(6)
    for signature, (name, unpacker) in _UNPACKERS.items():
        if start.startswith(signature):
            return BufferedReader(cast("Any", unpacker(file)), 128 * 1024), name
    return file, ""
