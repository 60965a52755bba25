"""The one place where aiokafka's exceptions become ours: those that pass by waiting, and those that do not."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from docsluice.kafka import broker_errors
from docsluice.messages import DeadLetterReason, Stage
from docsluice_consumer.errors import BrokerFault, DocsluiceError, RecordRejected


def translate(error: KafkaError, *, doing: str) -> DocsluiceError | None:
    """The fault that an aiokafka exception means. None if it passes by waiting.

    `doing` says what was tried, in words.
    """
    error = broker_errors.meant(error)
    if isinstance(error, broker_errors.TOO_LARGE):
        return RecordRejected(DeadLetterReason.TOO_LARGE, "larger than the topic takes", stage=Stage.PUBLISH)
    if isinstance(error, broker_errors.NOT_TAKEN):
        return RecordRejected(
            DeadLetterReason.REJECTED,
            f"the broker does not take it ({type(error).__name__}): a compacted topic takes no record without a key,"
            " and a broker may hold records against a schema",
            stage=Stage.PUBLISH,
        )
    if broker_errors.is_passing(error):
        return None
    return BrokerFault(f"cannot {doing}: {broker_errors.remedy(error)} ({type(error).__name__}: {error})")
