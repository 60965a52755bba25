"""Names bytes that are no UTF-8 text: another encoding, a known file format, a schema registry's frame. Pure."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

_SAMPLE_BYTES = 256
_LEAST_UNITS = 2

_MARKS = (  # the longer first: a mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32LE"),
    (codecs.BOM_UTF32_BE, "UTF-32BE"),
    (codecs.BOM_UTF16_LE, "UTF-16LE"),
    (codecs.BOM_UTF16_BE, "UTF-16BE"),
)
_SIGNATURES = (
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\x82SNAPPY\x00", "compressed with snappy"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with snappy"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"\x78\x01", "compressed with zlib"),
    (b"\x78\x9c", "compressed with zlib"),
    (b"\x78\xda", "compressed with zlib"),
    (b"PK\x03\x04", "a ZIP archive, as .docx and .xlsx files are"),
    (b"%PDF-", "a PDF"),
    (b"Obj\x01", "an Avro file"),
    (b"PAR1", "a Parquet file"),
    (b"\xac\xed\x00\x05", "a serialized Java object"),
    (b"\xd0\xcf\x11\xe0", "an old Office file, as .doc and .xls are"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"SQLite format 3\x00", "an SQLite database"),
)


def wide_encoding(data: bytes) -> str | None:
    """The UTF-16 or UTF-32 encoding of the bytes, by their mark or their zeros. None if neither.

    Names are those of Python's codecs. Without a mark, mostly ASCII texts are recognised.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    sample = data[:_SAMPLE_BYTES]
    for name, width, place in (("UTF-32LE", 4, 0), ("UTF-32BE", 4, 3), ("UTF-16LE", 2, 0), ("UTF-16BE", 2, 1)):
        units = [sample[at : at + width] for at in range(0, len(sample) - width + 1, width)]
        narrow = sum(unit[place] != 0 and unit.count(0) == width - 1 for unit in units)
        if len(units) >= _LEAST_UNITS and 2 * narrow > len(units) and bytes(width) not in units:
            return name
    return None


def format_of(data: bytes) -> str | None:
    """The format of a file with this beginning, as the end of "it is …". None if unknown."""
    return next((words for signature, words in _SIGNATURES if data.startswith(signature)), None)


@dataclass(frozen=True, slots=True)
class RegistryFrame:
    """What a serializer of a schema registry writes before the data itself."""

    schema: str
    """The schema's id, as the registry names it."""
    data: bytes


def registry_frames(data: bytes) -> list[RegistryFrame]:
    """The possible frames at the beginning of the bytes, the likeliest first. Empty without a frame.

    Confluent's is a zero byte and an id of four bytes. Apicurio's may have eight. AWS Glue's begins with a three, says
    in the second byte whether the data are compressed, and has an id of sixteen bytes.
    """
    if data[:1] == b"\x00":
        return [RegistryFrame(str(int.from_bytes(data[1:end], "big")), data[end:]) for end in (5, 9) if len(data) > end]
    if data[:2] in {b"\x03\x00", b"\x03\x05"} and len(data) > 18:  # noqa: PLR2004 - two and sixteen bytes
        return [RegistryFrame(data[2:18].hex(), data[18:])]
    return []
