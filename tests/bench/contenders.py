"""Who is measured: docsluice in several settings, and the peers in `tests/bench/peers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BASELINE = "plain-loop"
DEFAULT = "docsluice"
ALONE = "sdk"
"""The SDK without Kafka: the floor under all that use it."""
NO_STORE = {"DOCSLUICE_STORE_URL": "none://"}
AT_LEAST_ONCE = {"DOCSLUICE_DELIVERY": "at_least_once"}

OURS: Mapping[str, Mapping[str, str]] = {
    DEFAULT: {},
    "docsluice-no-store": NO_STORE,
    "docsluice-at-least-once": AT_LEAST_ONCE,
    "docsluice-at-least-once-no-store": {**AT_LEAST_ONCE, **NO_STORE},
}
PEERS: Mapping[str, Sequence[str]] = {
    BASELINE: ["plain_loop"],
    "faststream-ack-first": ["faststream_app", "ack_first"],
    "faststream-safe": ["faststream_app", "safe"],
    "langchain": ["langchain_batch"],
}
"""Module in `tests.bench.peers`, and its arguments."""
