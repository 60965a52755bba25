"""A question: a step about a text, be it a document, a part of one, or what was said of its parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from docsluice_consumer.llm.chat import ChatRequest
from docsluice_consumer.tasks.chunking import beginning_of, head_of, parts_of
from docsluice_consumer.tasks.steps import Step


@dataclass(frozen=True, slots=True)
class Question:
    """Put to a model in one call, if the text is short enough for it."""

    step: Step
    text: str

    @classmethod
    def about(cls, step: Step, text: str) -> Question:
        """A step about a document, or about as much of its beginning as the step asks for."""
        return cls(step, beginning_of(text, step.first_characters))

    @property
    def fingerprint(self) -> str:
        """See `Step.fingerprint`."""
        return self.step.fingerprint(self.text)

    @property
    def text_bytes(self) -> int:
        """The size of the text."""
        return len(self.text.encode())

    def request(self, *, service_tier: str | None = None) -> ChatRequest:
        """The call that puts it."""
        return self.step.request(self.text, service_tier=service_tier)

    def about_head(self, most_bytes: int) -> Question:
        """The same about the beginning of the text, without leading blanks."""
        return replace(self, text=head_of(self.text.lstrip(), most_bytes=most_bytes))

    def about_parts(self, most_bytes: int) -> list[Question]:
        """The same about each part of the text, in order."""
        parts = parts_of(self.text, most_bytes=most_bytes)
        return [replace(self, text=part) for part in parts if part.strip()]
