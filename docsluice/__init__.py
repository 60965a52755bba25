"""docsluice for programs of your own: what crosses its topics."""

TYPE_CHECKING = False  # which type checkers take for true, without the import
if TYPE_CHECKING:
    from docsluice.messages import DeadLetterReason, DocumentEvent, DocumentResult, SourcePosition, Usage

__all__ = ["DeadLetterReason", "DocumentEvent", "DocumentResult", "SourcePosition", "Usage"]


def __getattr__(name: str) -> object:
    """Load what is asked for. Pydantic is more than half of what `docsluice --help` would import."""
    if name not in __all__:
        raise AttributeError(f"module 'docsluice' has no attribute {name!r}")
    from docsluice import messages  # noqa: PLC0415 - as above

    return getattr(messages, name)
