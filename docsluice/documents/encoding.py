"""Which encoding a text is in, by its first bytes, and the same text in UTF-8."""

import codecs
import io
from dataclasses import dataclass
from typing import IO, Any

from docsluice.documents.entries import Unreadable
from docsluice.documents.kinds import EXTRA
from docsluice.validation.record_bytes import wide_encoding

UTF_8 = "utf-8"
_LIKELY = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *("iso8859_2", "iso8859_5", "koi8_r", "koi8_u"),
    *("cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949"),
]
"""Those that people have, the likelier first. Of all that Python knows, some fits any bytes."""
_PIECE_BYTES = 64 * 1024
_GUESSED_BYTES = 16 * 1024
"""What a guess looks at, around the first byte that is no UTF-8."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec's name, and whether it is a guess."""

    name: str
    is_guessed: bool = False

    @property
    def is_utf_8(self) -> bool:
        """Whether nothing has to be converted."""
        return codecs.lookup(self.name).name == UTF_8


def encoding_of(start: bytes, *, guess: bool) -> Encoding:
    """The encoding of a text that begins so: by its mark, or UTF-8, or, if `guess`, the likeliest one.

    A text that is mostly UTF-8 is damaged UTF-8, for no other encoding would make sense of its letters.

    Raises:
        Unreadable: they are no text, or the encoding cannot be told.
    """
    if wide := wide_encoding(start):
        return Encoding("utf-16" if start[:2] in _MARKS_OF_UTF_16 and wide.startswith("UTF-16") else wide)
    text = codecs.getincrementaldecoder(UTF_8)("replace").decode(start)
    foreign = text.count("\ufffd")
    if foreign and b"\x00" in start:
        raise Unreadable("it is binary data, no text")
    if not guess or 2 * foreign <= sum(not character.isascii() for character in text):
        return Encoding(UTF_8)
    return Encoding(_guessed(start), is_guessed=True)


_MARKS_OF_UTF_16 = {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}


def in_utf_8(file: IO[bytes], encoding: str) -> io.BufferedReader:
    """A file in another encoding, as UTF-8.

    Bytes that the encoding does not have stay as they are, and so are no UTF-8 in one place. Those of a wide encoding
    are an error.
    """
    return io.BufferedReader(_Recoded(file, encoding), _PIECE_BYTES)


class _Recoded(io.RawIOBase):
    """The file's text in UTF-8."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        wide = encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))
        self._errors = "strict" if wide else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._file.read(_PIECE_BYTES)
            try:
                self._ready = self._decoder.decode(data, final=not data).encode(UTF_8, "surrogateescape")
            except UnicodeError as error:
                raise Unreadable(f"it is no valid {getattr(error, 'encoding', 'text')}") from error
            if not data:
                break
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)


def _guessed(start: bytes) -> str:
    """The likeliest encoding of bytes that are no UTF-8."""
    try:
        from charset_normalizer import from_bytes  # noqa: PLC0415 - it takes a tenth of a second, and is in the extra
    except ImportError:
        raise Unreadable(
            "it is not UTF-8: say --encoding NAME, such as windows-1252;"
            f" with pip install '{EXTRA}' the encoding is detected"
        ) from None
    first = next((place for place, byte in enumerate(start) if byte > 127), 0)  # noqa: PLR2004 - the last of ASCII
    begin = max(0, first - _GUESSED_BYTES // 2)
    found = from_bytes(start[begin : begin + _GUESSED_BYTES], cp_isolation=_LIKELY)
    best = min(found, key=lambda match: (match.chaos, -match.coherence, _rank(match)), default=None)
    if best is None:
        raise Unreadable("it is neither UTF-8 nor in another encoding that can be told: say --encoding NAME")
    return _LIKELY[_rank(best)]


def _rank(match: Any) -> int:
    """The place of the likeliest encoding in which the bytes are the same text."""
    return min(_LIKELY.index(name) for name in match.could_be_from_charset if name in _LIKELY)
