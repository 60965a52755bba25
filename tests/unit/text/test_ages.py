"""Ages on Kafka's clock, and in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from docsluice.kafka.reader import Start
from docsluice.text.ages import timestamp_ms
from docsluice_producer.command_line.flags import duration

NOW = datetime(2030, 1, 2, tzinfo=UTC)


def test_a_start_is_told_as_people_tell_it() -> None:
    """No clock face such as 0:20:00."""
    assert str(Start(since=duration("20m"))) == "from 20 minutes ago"
    assert str(Start(since=duration("90m"))) == "from 1 hour 30 minutes ago"
    assert str(Start(since=duration("0s"))) == "from 0 seconds ago"
    assert str(Start(from_beginning=True)) == "from the beginning"
    assert str(Start()) == "from now on"


def test_an_age_is_a_moment_on_kafkas_clock() -> None:
    """In milliseconds since 1970."""
    day_before = datetime(2030, 1, 1, tzinfo=UTC)
    assert timestamp_ms(timedelta(days=1), now=NOW) == int(day_before.timestamp() * 1000)


def test_the_greatest_age_is_the_beginning() -> None:
    """The calendar and Kafka's clock both end before it."""
    assert timestamp_ms(duration("999999999d"), now=NOW) == 0
    assert timestamp_ms(duration("40000d"), now=NOW) == 0
