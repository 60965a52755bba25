"""Which compression the broker takes, as far as is known."""

from __future__ import annotations

import structlog

from docsluice_consumer.kafka.records import Compression

log = structlog.get_logger(__name__)


class Codecs:
    """Remembers, as long as the process runs, that a codec was refused."""

    def __init__(self) -> None:
        self._are_refused: set[Compression] = set()

    def taken(self, wished: Compression) -> Compression:
        """The codec to use for the wished one. Every broker takes gzip."""
        return "gzip" if wished in self._are_refused else wished

    def note_refused(self, codec: Compression) -> bool:
        """Note a refused codec. Returns whether another one is left."""
        if codec == "gzip":
            return False
        if codec not in self._are_refused:
            self._are_refused.add(codec)
            log.warning("codec.refused", codec=codec, goes_on_with="gzip")
        return True
