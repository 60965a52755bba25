"""Why Redis does not answer as it should, in a few words."""

from __future__ import annotations

import ssl

from docsluice.network.network_errors import in_words
from docsluice.text.printable import printable, shortened
from docsluice_consumer.store.step_store import StoreAway, StoreUnusable

_LASTING = ("DB index", "unknown command", "MOVED")
"""How replies begin that waiting does not change: no such database, not Redis, or a cluster."""

_MOST_CHARACTERS = 200


def away(error: Exception) -> StoreAway:
    """The error for a store in Redis: `StoreUnusable` if waiting does not help."""
    from redis import exceptions  # noqa: PLC0415 - an extra, which few need

    refused = (exceptions.AuthenticationError, exceptions.NoPermissionError, exceptions.MovedError)
    is_untrusted = isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError)
    is_lasting = isinstance(error, refused) or is_untrusted or str(error).removeprefix("ERR ").startswith(_LASTING)
    return (StoreUnusable if is_lasting else StoreAway)(why(error))


def is_of_another_kind(error: Exception) -> bool:
    """Whether the key holds no string, and so nothing of ours."""
    return str(error).startswith("WRONGTYPE")


def is_too_much(error: Exception) -> bool:
    """Whether an answer was too large, or none that Redis gives."""
    from redis import exceptions  # noqa: PLC0415 - an extra, which few need

    return isinstance(error, exceptions.InvalidResponse)


def why(error: Exception) -> str:
    """The reason in a few words, without addresses and passwords. Needs the package `redis`."""
    from redis import exceptions  # noqa: PLC0415 - an extra, which few need

    cause = error.__cause__ or error.__context__
    match error:
        case exceptions.AuthenticationError():
            return "it does not take the user name and password"
        case exceptions.InvalidResponse() | ValueError() | TypeError() | RecursionError():
            return "it answers as no Redis does, or too much"
        case exceptions.ResponseError():
            return shortened(printable(str(error)), _MOST_CHARACTERS)
        case TimeoutError():
            return "no answer"
        case _ if isinstance(cause, OSError):
            return in_words(cause)
        case exceptions.ConnectionError():
            return in_words(ConnectionError())
        case _:
            return type(error).__name__
