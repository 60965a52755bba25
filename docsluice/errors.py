"""The roots of what docsluice raises on purpose. Each program draws its own tree from here.

DocsluiceError
├── ConfigurationError        settings, arguments or files that cannot work
├── ClientFault               work with a broker ends early
│   ├── BrokerAway            the broker did not answer in the time that it was given
│   ├── BrokerRefused         it answered, and will not serve us: credentials, permissions, a missing topic
│   └── WrongUsage            arguments that cannot work: exit 2
├── DocumentRefused           one document cannot be sent, and others can
│   ├── InvalidDocument       it is no document event
│   └── DocumentTooLarge      it is larger than the topic takes
└── MissingPackage            an optional package is not installed
"""

from __future__ import annotations


class DocsluiceError(Exception):
    """The root of everything that is raised on purpose."""


class ConfigurationError(DocsluiceError):
    """Settings or files that cannot work. `problems` are sentences. Each names what to change."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ClientFault(DocsluiceError):
    """Work with a broker ends early. The message is one line for a person. A program ends with `exit_code`."""

    exit_code = 1


class BrokerAway(ClientFault):
    """No answer from the broker in time."""


class BrokerRefused(ClientFault):
    """The broker answers and will not serve us as configured."""


class WrongUsage(ClientFault):
    """Arguments or settings that cannot work."""

    exit_code = 2


class DocumentRefused(DocsluiceError):
    """One document cannot be sent. `document_id` is its id, empty if it has none."""

    def __init__(self, message: str, *, document_id: str) -> None:
        super().__init__(message)
        self.document_id = document_id


class InvalidDocument(DocumentRefused):
    """It is no document event. The message names each wrong field, and never quotes the document."""


class DocumentTooLarge(DocumentRefused):
    """It is larger than the topic takes. `size_bytes` is its size."""

    def __init__(self, message: str, *, document_id: str, size_bytes: int) -> None:
        super().__init__(message, document_id=document_id)
        self.size_bytes = size_bytes


class MissingPackage(DocsluiceError):
    """An optional package is not installed. The message says how to install it."""
