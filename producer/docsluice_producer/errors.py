"""What ends this program early, drawn once.

    ProducerFault
    ├── WrongUsage        arguments or settings that cannot work: exit 2
    ├── BrokerAway        the broker did not answer in the time we were told to wait: exit 1
    ├── BrokerRefused     it answered, and will not serve us: credentials, permissions, a missing topic: exit 1
    ├── NotWritten        the file that outcomes are written to takes no more: exit 1
    ├── TakenOver         another redrive or drop of the same dead letters, or send of the same files, has begun: exit 1
    ├── VersionUnknown    no consumer told us the pipeline version that it runs, or several told several: exit 1
    └── Stopped           a signal came before there was anything to sum up: exit 128 and its number

A row's own fault is none of these: it is reported as a `BadRow` and the rest is sent.
"""


class ProducerFault(Exception):
    """The root. The message is one line for the person at the terminal."""

    exit_code = 1


class WrongUsage(ProducerFault):
    """Arguments or settings that cannot work."""

    exit_code = 2


class BrokerAway(ProducerFault):
    """No answer from the broker in time."""


class BrokerRefused(ProducerFault):
    """The broker answers and will not serve us as configured."""


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
