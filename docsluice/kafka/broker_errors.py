"""What a broker's errors mean: which pass by waiting, and what to do about those that do not."""

from __future__ import annotations

from aiokafka import errors


class CodecRefused(errors.BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """The broker does not take this compression (UNSUPPORTED_COMPRESSION_TYPE)."""

    errno = 76
    message = "UNSUPPORTED_COMPRESSION_TYPE"


class RecordRefused(errors.BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """The broker refuses a record for its content, such as one without a key on a compacted topic (INVALID_RECORD)."""

    errno = 87
    message = "INVALID_RECORD"


# aiokafka knows neither, and would take them for errors that pass. They would be retried for ever.
errors.kafka_errors.update({kind.errno: kind for kind in (CodecRefused, RecordRefused)})

TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
NOT_TAKEN = (RecordRefused, errors.CorruptRecordException)
"""Refused for its content, whatever its size. Brokers before 2.4 use the latter."""
REFUSED = (*TOO_LARGE, *NOT_TAKEN)
"""Errors about one record, for which a broker refuses the whole batch."""

_PASSING = (
    errors.KafkaTimeoutError,
    errors.KafkaUnavailableError,
    errors.BrokerNotAvailableError,
    errors.ReplicaNotAvailableError,
    errors.UnknownError,
    errors.StaleControllerEpochError,
    errors.StaleLeaderEpochCodeError,
    errors.FetchSessionIdNotFound,
    errors.InvalidFetchSessionEpoch,
    errors.ReassignmentInProgress,
    errors.ListenerNotFound,
    errors.ConcurrentTransactions,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.MemberIdRequired,
    errors.CommitFailedError,
    errors.InvalidTimestampError,
)
"""Errors that pass, though aiokafka does not mark them as retriable."""

_FEW_REPLICAS = (
    "fewer replicas are in sync than the topic's min.insync.replicas asks for; see to its brokers, or lower that"
)
_REMEDIES: dict[type[errors.KafkaError], str] = {
    errors.TopicAuthorizationFailedError: "not allowed on this topic; grant READ on the input, WRITE on the others"
    " (DOCSLUICE_INPUT_TOPIC, _RESULT_TOPIC, _DEAD_LETTER_TOPIC)",
    errors.GroupAuthorizationFailedError: "not allowed to use this consumer group (DOCSLUICE_GROUP_ID); grant READ",
    errors.ClusterAuthorizationFailedError: "not allowed on this cluster",
    errors.TransactionalIdAuthorizationFailed: "not allowed to use this transactional id; grant WRITE on those"
    " that begin with DOCSLUICE_GROUP_ID and a slash",
    errors.DelegationTokenAuthorizationFailed: "the delegation token is not accepted",
    errors.SaslAuthenticationFailed: "the broker does not accept the SASL user name or password"
    " (DOCSLUICE_KAFKA_SASL_USERNAME, _SASL_PASSWORD)",
    errors.AuthenticationFailedError: "the broker does not accept our credentials",
    errors.AuthenticationMethodNotSupported: "the broker does not know this way to authenticate",
    errors.UnsupportedSaslMechanismError: "the broker does not know DOCSLUICE_KAFKA_SASL_MECHANISM",
    errors.IllegalSaslStateError: "the broker takes no user name and password here; set"
    " DOCSLUICE_KAFKA_SECURITY_PROTOCOL to the same without SASL_",
    errors.SecurityDisabled: "the broker has security switched off",
    errors.InvalidTopicError: "the topic's name is not valid",
    errors.InvalidGroupIdError: "the group's name is not valid",
    errors.InvalidSessionTimeoutError: "the broker does not allow this session timeout",
    errors.InconsistentGroupProtocolError: "the group has members of another kind; choose another DOCSLUICE_GROUP_ID",
    errors.UnsupportedVersionError: "the broker is too old",
    errors.IncompatibleBrokerVersion: "the broker is too old",
    errors.UnrecognizedBrokerVersion: "the broker speaks no version that is known here",
    errors.UnsupportedCodecError: "the records are compressed in a way that needs another library",
    errors.PolicyViolationError: "a policy of the broker forbids it",
    errors.ProducerFenced: "another producer took our place",
    errors.KafkaStorageError: "a disk of the broker has failed or is full",
    errors.NotEnoughReplicasError: _FEW_REPLICAS,
    errors.NotEnoughReplicasAfterAppendError: _FEW_REPLICAS,
    errors.InvalidTimestampError: "the clocks of this machine and of the broker are apart; set them right (NTP)."
    " The topic's message.timestamp.after.max.ms and message.timestamp.before.max.ms say how far they may be",
}


def meant(error: errors.KafkaError) -> errors.KafkaError:
    """The error itself, or the one that aiokafka has wrapped in a general one, as for a broken connection."""
    cause = error.__cause__
    return meant(cause) if type(error) is errors.KafkaError and isinstance(cause, errors.KafkaError) else error


def is_passing(error: errors.KafkaError) -> bool:
    """Whether it may pass by waiting."""
    return error.retriable or isinstance(error, _PASSING)


def in_words(error: errors.KafkaError) -> str:
    """The error's words for the log, with what to do if that is known."""
    error = meant(error)
    said, kind = str(error), type(error).__name__  # most of aiokafka's errors begin with their own name
    told = said if kind in said else f"{kind}: {said}"
    return f"{told}: {remedy(error)}" if isinstance(error, tuple(_REMEDIES)) else told


def remedy(error: errors.KafkaError) -> str:
    """What to do about an error that does not pass."""
    sentences = (sentence for kind, sentence in _REMEDIES.items() if isinstance(error, kind))
    return next(sentences, "waiting will not help")
