"""A stub, a dead letter without parts of its record, and whether a record is its original. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from docsluice.messages import stub_parts
from docsluice.outcomes.outcome import FetchedRecord, errors_of
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.dead_letters.letter import Letter


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub:
    """What a stub tells about its original record."""

    left_out: Sequence[str]
    value_bytes: str
    value_sha256: str
    place: str
    letter: Letter

    @property
    def sentence(self) -> str:
        """What is missing, and where the original is."""
        size = f", {int(self.value_bytes):,} bytes" if self.value_bytes.isdecimal() else ""
        digest = f", sha256 {printable(self.value_sha256)}" if self.value_sha256 else ""
        parts = "".join(f", and its {part}" for part in self.left_out if part != "value")
        what = f"value left out{size}{digest}{parts}" if "value" in self.left_out else f"left out: {self._others}"
        return f"{what}; original at {self.place}, as long as that topic keeps it"

    @property
    def _others(self) -> str:
        return " and ".join(self.left_out)

    def why_not(self, original: FetchedRecord | None) -> str | None:
        """Why a record from the original's place is not the original. None if it is."""
        if original is None:
            return f"its original at {self.place} is gone"
        value = original.value or b""
        if self.value_sha256:
            is_same = hashlib.sha256(value).hexdigest() == self.value_sha256
        elif "value" in self.left_out:
            return f"its original at {self.place} cannot be told from another, for nothing is known of its value"
        else:
            is_same = original.value == self.letter.record.value
        return None if is_same else f"the record at {self.place} is another one than its original was"


def stub_of(letter: Letter) -> Stub | None:
    """The stub in a dead letter. None if it is whole."""
    left_out = stub_parts(letter.record.headers)
    if not left_out:
        return None
    errors: Mapping[str, str] = errors_of(letter.record)
    source = letter.outcome.fields["source"]
    return Stub(
        left_out=left_out,
        value_bytes=errors.get("value_bytes", ""),
        value_sha256=errors.get("value_sha256", ""),
        place=printable(f"{source['topic']}/{source['partition']}@{source['offset']}"),
        letter=letter,
    )
