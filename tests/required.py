"""What may not be skipped, read before the tests clear the environment of every DOCSLUICE_ variable."""

from __future__ import annotations

import os

KAFKA = os.environ.get("DOCSLUICE_REQUIRE_KAFKA") == "1"
REDIS = os.environ.get("DOCSLUICE_REQUIRE_REDIS") == "1"
PROMETHEUS = os.environ.get("DOCSLUICE_REQUIRE_PROMETHEUS") == "1"
