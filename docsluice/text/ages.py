"""Ages such as `--since 20m`, on Kafka's clock and in words. Pure."""

from datetime import datetime, timedelta

from docsluice.text.durations import in_words

_MILLISECOND = timedelta(milliseconds=1)


def timestamp_ms(age: timedelta, *, now: datetime) -> int:
    """The time of that age ago, in milliseconds since 1970. 0 if it is earlier, because Kafka knows no earlier time."""
    return max(0, int(now.timestamp() * 1000) - age // _MILLISECOND)


def ago(age: timedelta) -> str:
    """An age in words: "20 minutes ago"."""
    return f"{in_words(age.total_seconds())} ago"
