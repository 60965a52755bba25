"""What can go wrong, drawn once.

    DocsluiceError
    ├── ConfigurationError      settings or a pipeline file that cannot work: one line each, exit 2
    ├── RecordRejected          the record's fault: it becomes a dead letter and the service goes on
    ├── InvalidAnswer           the model's answer is not what the step asked for: one repair, then rejected
    ├── AttemptFailed           one call failed and may be tried again
    │   ├── RateLimited             429: too fast. Never counts against the document
    │   ├── QuotaExhausted          the account is empty, or a day's quota is. Never counts against the document
    │   ├── CallTimedOut            no answer in time. Counts while other calls succeed
    │   ├── ProviderUnavailable     5xx, refused or broken connection. Counts while other calls succeed
    │   ├── CallRefused             a 4xx that may be about all calls or about this document only
    │   └── AnswerUnreadable        an answer came, and it is no completion. Counts, for it may have been paid for
    └── ServiceFault            the world's fault: stop with a clear message, nothing committed past the hole
        ├── ProviderMisconfigured   the provider refuses all calls: bad key, unknown model or path
        ├── BrokerFault             a topic that is missing and may not be made, no permission, wrong credentials
        ├── UnknownCommitMap        a later release has committed here, and what it has ended would be repeated
        └── PublishImpossible       a dead-letter topic that takes not even a few hundred bytes

Anything else that a record raises is a bug of ours: a dead letter with the reason `unexpected`.
Exceptions of openai and aiokafka are translated into these at the edge (llm/error_mapping.py, kafka/error_mapping.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from docsluice.errors import ConfigurationError as ConfigurationError  # noqa: PLC0414 - a part of this tree
from docsluice.errors import DocsluiceError as DocsluiceError  # noqa: PLC0414 - and its root
from docsluice.messages import DeadLetterReason, Stage, Usage
from docsluice.network.exception_chain import causes
from docsluice_consumer.model_ref import ModelRef

RefusalKind: TypeAlias = Literal["credentials", "permission", "model", "path", "proxy", "unknown"]
"""What a refused call is about, as far as the provider says so."""


class RecordRejected(DocsluiceError):
    """The record's own fault.

    `answer` is what the model said, where that was the trouble. It is for nobody's log. `cause` is fit for the log, as
    that of `AttemptFailed`. None where the message may quote the document. `usage` and `stated_cost_usd` are what the
    provider says of the call that was rejected.
    """

    usage: Usage | None = None
    stated_cost_usd: Decimal | None = None

    def __init__(
        self,
        reason: DeadLetterReason,
        message: str,
        *,
        stage: Stage = Stage.ANALYZE,
        step: str | None = None,
        model: ModelRef | None = None,
        answer: str | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.stage = stage
        self.step = step
        self.model = model
        self.answer = answer
        self.cause = cause


class InvalidAnswer(DocsluiceError):
    """An answer that does not meet the step's schema. The message is fit to be shown to the model.

    `usable` is what can be taken of it where a repair brings nothing better. None where nothing can.
    """

    def __init__(self, message: str, *, usable: Any = None) -> None:
        super().__init__(message)
        self.usable = usable


class AttemptFailed(DocsluiceError):
    """One call failed and may be tried again.

    `outcome` is the metric label. `retry_after_seconds` is the provider's own word on when, if it gave one, and
    `limits` on what it allows a minute. `blames_document` tells whether the attempt may count against the document at
    all, and `waits_in_queue` whether admission is the place to wait until it is tried again. `is_overload` says that
    the server has too much to do, `times_alone` how often that was so for this document while others were answered,
    `pauses_others` that other calls are to wait as well, `teaches` that it tells something about the pace at which
    calls may go out. `speaks_of_document` says that its document has failed before, and calls of others were answered
    since: this failure tells nothing of the provider. `provider_is_well` says that a text of our own was answered right
    after it. `cause` is fit for the log: it
    quotes no document and no secret. `usage` is what the provider says that the failed call has used, and
    `stated_cost_usd` what it has cost.
    """

    outcome = "failed"
    blames_document = True
    is_overload = False
    waits_in_queue = False
    times_alone = 0
    pauses_others = True
    teaches = True
    speaks_of_document = False
    provider_is_well = False
    usage: Usage | None = None
    stated_cost_usd: Decimal | None = None

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        limits: Mapping[str, float] | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.limits = dict(limits or {})
        self.cause = message if cause is None else cause


class RateLimited(AttemptFailed):
    """429: more than the provider allows a minute."""

    outcome = "rate_limited"
    blames_document = False
    is_overload = True


class QuotaExhausted(AttemptFailed):
    """The account has nothing left, whatever the status.

    `period_seconds` is None where only a person can fix that, by paying. Else the quota is of an hour, a day, a week
    or a month, and comes back by itself: it says nothing of the pace that a minute allows.
    """

    outcome = "quota_exhausted"
    blames_document = False
    period_seconds: float | None = None


class CallTimedOut(AttemptFailed):
    """No answer within the request timeout. The provider may have counted the tokens all the same."""

    outcome = "timeout"
    is_overload = True


class ProviderUnavailable(AttemptFailed):
    """5xx, or a connection that was refused or broke."""

    outcome = "unavailable"


class CallRefused(AttemptFailed):
    """A 4xx that may be about all calls, or about this document only. Other calls tell which.

    Attributes:
        kind: What it is about.
        is_certain: No document can cause it.
        reason: The dead letter's reason, should it be about the document.
        remedy: A sentence that names the setting, for a stop. Status and code are the provider's only words in it.
        parameter: The request parameter that the provider complains of, if it names one.
        is_worlds: Whose fault the other calls have shown it to be. None while it is not known.
        refuses_step: The model refuses this step for all documents, and answers others.
    """

    outcome = "call_refused"
    reason = DeadLetterReason.REJECTED
    is_worlds: bool | None = None
    refuses_step = False

    def __init__(
        self,
        message: str,
        *,
        kind: RefusalKind,
        remedy: str,
        is_certain: bool = False,
        parameter: str | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(message, cause=cause)
        self.kind = kind
        self.is_certain = is_certain
        self.remedy = remedy
        self.parameter = parameter


class AnswerUnreadable(AttemptFailed):
    """A 200 whose body is no completion, or ends in the middle. The provider may have counted its tokens."""

    outcome = "answer_unreadable"


class ServiceFault(DocsluiceError):
    """The world's fault: going on would lose or spoil records, so the service stops and says why."""


class ProviderMisconfigured(ServiceFault):
    """The provider refuses every call, or its client cannot be built: a bad key, an unknown model, an odd address."""


class BrokerFault(ServiceFault):
    """The broker will not serve us as configured: credentials, permissions, or a topic that is missing."""


class UnknownCommitMap(ServiceFault):
    """The commit's map of ended records is of a later release. Without it they would be repeated."""


class PublishImpossible(ServiceFault):
    """A dead letter that its topic takes in no size. Dropping it would lose a record."""


def cause_of(error: BaseException) -> str | None:
    """The cause of an error that is fit for the log: its own, or that of the error that it comes of. None of others."""
    own = (one.cause for one in causes(error) if isinstance(one, AttemptFailed | RecordRejected))
    return next(filter(None, own), None)
