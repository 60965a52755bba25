"""docsluice for programs of your own: documents in, results and dead letters out.

    async with docsluice.DocumentProducer() as producer:
        await producer.send(document_id="invoice-17", text="…")

    async for result in docsluice.results(group_id="search-index"):
        print(result.document_id, result.outputs)

    frame = docsluice.read_results()

docs/reference/library.md has all of it. What you test your own code with is in `docsluice.testing`.
"""

TYPE_CHECKING = False  # which type checkers take for true, without the import
if TYPE_CHECKING:
    from docsluice.client.data_frame import read_results
    from docsluice.client.producer import DocumentProducer, send_documents
    from docsluice.client.received import DeadLetter, ReceivedRecord, ReceivedResult
    from docsluice.client.subscription import Subscription, dead_letters, results
    from docsluice.errors import (
        BrokerAway,
        BrokerRefused,
        ConfigurationError,
        DocsluiceError,
        DocumentRefused,
        DocumentTooLarge,
        InvalidDocument,
        MissingPackage,
    )
    from docsluice.messages import DeadLetterReason, DocumentEvent, DocumentResult, SourcePosition, Usage

_ROOMS = {
    "docsluice.client.data_frame": ("read_results",),
    "docsluice.client.producer": ("DocumentProducer", "send_documents"),
    "docsluice.client.received": ("DeadLetter", "ReceivedRecord", "ReceivedResult"),
    "docsluice.client.subscription": ("Subscription", "dead_letters", "results"),
    "docsluice.errors": (
        "BrokerAway",
        "BrokerRefused",
        "ConfigurationError",
        "DocsluiceError",
        "DocumentRefused",
        "DocumentTooLarge",
        "InvalidDocument",
        "MissingPackage",
    ),
    "docsluice.messages": ("DeadLetterReason", "DocumentEvent", "DocumentResult", "SourcePosition", "Usage"),
}

__all__ = [
    "BrokerAway",
    "BrokerRefused",
    "ConfigurationError",
    "DeadLetter",
    "DeadLetterReason",
    "DocsluiceError",
    "DocumentEvent",
    "DocumentProducer",
    "DocumentRefused",
    "DocumentResult",
    "DocumentTooLarge",
    "InvalidDocument",
    "MissingPackage",
    "ReceivedRecord",
    "ReceivedResult",
    "SourcePosition",
    "Subscription",
    "Usage",
    "dead_letters",
    "read_results",
    "results",
    "send_documents",
]


def __getattr__(name: str) -> object:
    """Load what is asked for. Pydantic is more than half of what `docsluice --help` would import."""
    from importlib import import_module  # noqa: PLC0415 - as above

    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(room), name)
    raise AttributeError(f"module 'docsluice' has no attribute {name!r}")
