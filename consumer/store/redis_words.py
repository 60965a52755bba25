"""Why Redis does not answer as it should, in a few words."""

from __future__ import annotations

from consumer.reach import in_words


def why(error: Exception) -> str:
    """Without addresses and passwords. Needs the package `redis`."""
    from redis import exceptions  # noqa: PLC0415 - an extra, which few need

    cause = error.__cause__ or error.__context__
    match error:
        case exceptions.AuthenticationError():
            return "it does not take the user name and password"
        case exceptions.ResponseError():
            return str(error)
        case TimeoutError():
            return "no answer"
        case _ if isinstance(cause, OSError):
            return in_words(cause)
        case exceptions.ConnectionError():
            return in_words(ConnectionError())
        case _:
            return type(error).__name__
