"""What ends this program early, drawn once.

    ProducerFault         the library's ClientFault
    ├── BrokerAway        the library's: the broker did not answer in the time we were told to wait: exit 1
    ├── BrokerRefused     the library's: it answered, and will not serve us: exit 1
    ├── WrongUsage        the library's: arguments or settings that cannot work: exit 2
    ├── NotWritten        the file that outcomes are written to takes no more: exit 1
    ├── TakenOver         another redrive or drop of the same dead letters, or send of the same files, has begun: exit 1
    ├── VersionUnknown    no consumer told us the pipeline version that it runs, or several told several: exit 1
    └── Stopped           a signal came before there was anything to sum up: exit 128 and its number

A row's own fault is none of these: it is reported as a `BadRow` and the rest is sent.
"""

from docsluice.errors import BrokerAway, BrokerRefused, WrongUsage
from docsluice.errors import ClientFault as ProducerFault

__all__ = [
    "BrokerAway",
    "BrokerRefused",
    "NotWritten",
    "ProducerFault",
    "Stopped",
    "TakenOver",
    "VersionUnknown",
    "WrongUsage",
]


class NotWritten(ProducerFault):
    """An outcome could not be written."""


class TakenOver(ProducerFault):
    """Another redrive or drop has begun to write about the same dead letters, or another send of the same files."""


class VersionUnknown(ProducerFault):
    """The consumers' pipeline version is unknown."""


class Stopped(ProducerFault):
    """A signal came before there was anything to sum up."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
