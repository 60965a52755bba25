"""Unknown fields of events: counted, and each name logged once."""

from __future__ import annotations

import structlog

from docsluice.validation.event_problems import shown_name
from docsluice_consumer.decode.decode import ReadEvent
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_NAMES_SAID = 20
"""A producer may put anything into a name, and a new name into every event."""
_VERSION = "schema_version"


class IgnoredFields:
    """Reports what was left out of events: names, never values, which may be the document."""

    def __init__(self, *, metrics: Metrics) -> None:
        self._metrics = metrics
        self._said: set[str] = set()

    def note(self, read: ReadEvent) -> None:
        """Count the unknown fields of an event, and warn of each name, and of a later version, when first seen."""
        if read.unknown_fields:
            self._metrics.fields_ignored(len(read.unknown_fields))
        for name in read.unknown_fields:
            self._say(name)
        if read.event.schema_version > 1 and _VERSION not in self._said:
            self._said.add(_VERSION)
            log.warning(
                "event.later_version",
                schema_version=shown_name(str(read.event.schema_version)),
                meaning="what this release knows of the event is used, the rest left out",
            )

    def _say(self, name: str) -> None:
        shown = shown_name(name)
        if shown in self._said or len(self._said) > _NAMES_SAID:
            return
        self._said.add(shown)
        if len(self._said) > _NAMES_SAID:
            log.warning("event.unknown_fields", meaning="more names are only counted, not said")
            return
        log.warning(
            "event.unknown_field",
            field=shown,
            remedy="it is left out; what is to come back in the result belongs into metadata",
        )
