"""docsluice for programs of your own: what crosses its topics."""

from docsluice.messages import DeadLetterReason, DocumentEvent, DocumentResult, SourcePosition, Usage

__all__ = ["DeadLetterReason", "DocumentEvent", "DocumentResult", "SourcePosition", "Usage"]
