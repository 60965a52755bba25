"""What each exception of aiokafka means: wait, stop, or the record's own fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import errors

from docsluice.kafka import broker_errors
from docsluice.messages import Stage
from docsluice_consumer.errors import BrokerFault, RecordRejected
from docsluice_consumer.kafka import error_mapping

# fmt: off
WAIT = [
    "NoBrokersAvailable", "NodeNotReadyError", "KafkaProtocolError", "CorrelationIdError", "Cancelled",
    "TooManyInFlightRequests", "StaleMetadata", "MetadataEmptyBrokerList", "KafkaConnectionError",
    "KafkaTimeoutError", "KafkaUnavailableError", "UnknownError", "UnknownTopicOrPartitionError",
    "LeaderNotAvailableError", "NotLeaderForPartitionError", "RequestTimedOutError", "BrokerNotAvailableError",
    "ReplicaNotAvailableError", "StaleControllerEpochError", "StaleLeaderEpochCodeError",
    "GroupLoadInProgressError", "GroupCoordinatorNotAvailableError", "NotCoordinatorForGroupError",
    "NotEnoughReplicasError", "NotEnoughReplicasAfterAppendError", "NotControllerError", "KafkaStorageError",
    "ReassignmentInProgress", "ListenerNotFound", "FetchSessionIdNotFound", "InvalidFetchSessionEpoch",
    "ConcurrentTransactions", "CommitFailedError", "RebalanceInProgressError", "IllegalGenerationError",
    "UnknownMemberIdError", "MemberIdRequired", "InvalidTimestampError",
]
STOP = [
    "IllegalStateError", "IllegalArgumentError", "UnrecognizedBrokerVersion", "IncompatibleBrokerVersion",
    "AuthenticationMethodNotSupported", "AuthenticationFailedError", "UnsupportedCodecError",
    "KafkaConfigurationError", "QuotaViolationError", "NoOffsetForPartitionError", "RecordTooLargeError",
    "ProducerClosed", "ProducerFenced", "NoError", "OffsetOutOfRangeError",
    "InvalidFetchRequestError", "OffsetMetadataTooLargeError", "InvalidTopicError", "InvalidRequiredAcksError",
    "InconsistentGroupProtocolError", "InvalidGroupIdError", "InvalidSessionTimeoutError",
    "InvalidCommitOffsetSizeError", "TopicAuthorizationFailedError", "GroupAuthorizationFailedError",
    "ClusterAuthorizationFailedError", "UnsupportedSaslMechanismError",
    "IllegalSaslStateError", "UnsupportedVersionError", "TopicAlreadyExistsError", "InvalidPartitionsError",
    "InvalidReplicationFactorError", "InvalidReplicationAssignmentError", "InvalidConfigurationError",
    "InvalidRequestError", "UnsupportedForMessageFormatError", "PolicyViolationError", "OutOfOrderSequenceNumber",
    "DuplicateSequenceNumber", "InvalidProducerEpoch", "InvalidTxnState", "InvalidProducerIdMapping",
    "InvalidTransactionTimeout", "TransactionCoordinatorFenced", "TransactionalIdAuthorizationFailed",
    "SecurityDisabled", "OperationNotAttempted", "LogDirNotFound", "SaslAuthenticationFailed", "UnknownProducerId",
    "DelegationTokenAuthDisabled", "DelegationTokenNotFound", "DelegationTokenOwnerMismatch",
    "DelegationTokenRequestNotAllowed", "DelegationTokenAuthorizationFailed", "DelegationTokenExpired",
    "InvalidPrincipalType", "NonEmptyGroup", "GroupIdNotFound",
]
# fmt: on
REJECT = {
    "MessageSizeTooLargeError": "too_large",
    "RecordListTooLargeError": "too_large",
    "CorruptRecordException": "rejected",
}


def _subclasses(root: type[errors.KafkaError]) -> Iterator[type[errors.KafkaError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _subclasses(kind)


ABSTRACT = {errors.BrokerResponseError}
EVERY = sorted(
    {kind for kind in _subclasses(errors.KafkaError) if kind.__module__ == errors.__name__} - ABSTRACT, key=repr
)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_exception_of_aiokafka_has_a_meaning(kind: type[errors.KafkaError]) -> None:
    """A class that a later version brings fails here until somebody has decided what it means."""
    fault = error_mapping.translate(kind("details"), doing="read topic documents")
    if kind.__name__ in WAIT:
        assert fault is None
    elif kind.__name__ in REJECT:
        assert isinstance(fault, RecordRejected)
        assert (fault.reason, fault.stage) == (REJECT[kind.__name__], Stage.PUBLISH)
    else:
        assert kind.__name__ in STOP
        assert isinstance(fault, BrokerFault)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.TopicAuthorizationFailedError("documents"), "grant READ on the input, WRITE on the others"),
        (errors.GroupAuthorizationFailedError(), "DOCSLUICE_GROUP_ID"),
        (errors.SaslAuthenticationFailed(), "user name or password"),
        (errors.UnsupportedSaslMechanismError(), "DOCSLUICE_KAFKA_SASL_MECHANISM"),
        (errors.InvalidRequestError("odd"), "waiting will not help"),
    ],
)
def test_a_fault_says_what_could_not_be_done_and_what_to_do(error: errors.KafkaError, words: str) -> None:
    """What we were doing, in words. The remedy, and the exception's own name, to search for."""
    fault = str(error_mapping.translate(error, doing="read topic documents"))
    assert fault.startswith("cannot read topic documents: ")
    assert words in fault
    assert type(error).__name__ in fault


def test_a_class_that_is_not_known_stops() -> None:
    """To wait for ever on what nobody has thought of would look like health."""

    class Novel(errors.KafkaError):  # type: ignore[misc]  # aiokafka ships no types
        pass

    assert isinstance(error_mapping.translate(Novel(), doing="x"), BrokerFault)


def test_no_class_is_in_two_lists() -> None:
    """The table means one thing for each class."""
    names = [*WAIT, *STOP, *REJECT]
    assert len(names) == len(set(names))


def test_an_error_in_a_nameless_one_is_told_by_the_inner_one() -> None:
    """Aiokafka wraps what a coordinator or a connection raises, and a broken connection passes all the same."""
    for inner, passes in (
        (errors.KafkaConnectionError("closed"), True),
        (errors.GroupAuthorizationFailedError(), False),
    ):
        outer = errors.KafkaError(repr(inner))
        outer.__cause__ = inner
        fault = error_mapping.translate(outer, doing="start")
        assert (fault is None) is passes
    assert error_mapping.translate(errors.KafkaError("nameless"), doing="start") is not None
    outer = errors.KafkaError("Unexpected error during batch delivery")
    outer.__cause__ = errors.TopicAuthorizationFailedError()
    assert "DOCSLUICE_INPUT_TOPIC" in broker_errors.in_words(outer)


@pytest.mark.parametrize(("code", "kind"), [(76, broker_errors.CodecRefused), (87, broker_errors.RecordRefused)])
def test_codes_that_aiokafka_does_not_know_have_their_own_class(code: int, kind: type[errors.KafkaError]) -> None:
    """It would call them unknown, and they would be waited for."""
    assert errors.for_code(code) is kind
    assert not broker_errors.is_passing(kind())
    assert isinstance(error_mapping.translate(broker_errors.RecordRefused(), doing="publish"), RecordRejected)


def test_a_wrong_clock_is_waited_for_with_a_remedy() -> None:
    """NTP, or a person, will set it right. The log says what to do until then."""
    said = broker_errors.in_words(errors.InvalidTimestampError("of d1"))
    assert "InvalidTimestampError" in said
    assert "the clocks of this machine and of the broker are apart; set them right (NTP)" in said
    assert broker_errors.in_words(errors.KafkaConnectionError("gone")) == "KafkaConnectionError: gone"
