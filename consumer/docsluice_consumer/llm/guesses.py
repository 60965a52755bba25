"""What one call leaves out, or sends again, until an answer shows whether that was right.

A refusal may quote a document, so its words are a guess. Other calls use it once this one is answered.
"""

from __future__ import annotations

from docsluice_consumer.llm.capabilities import Capabilities, Discovery, Knowledge, Sent, complaint, missed
from docsluice_consumer.llm.error_body import ProviderError


class Guesses:
    """The guesses of one call.

    It leaves out and sends again each thing once, so the tries end even if a server flaps.
    """

    def __init__(self, known: Capabilities, *, model: str, step: str, tries: str | None = None) -> None:
        self._known = known
        self._model, self._step = model, step
        self._left_out: dict[str, None] = {}
        self._sent_again: set[str] = {tries} if tries else set()
        self._ever_left_out: set[str] = set()
        self._ever_sent_again = set(self._sent_again)
        self._tries = tries

    @property
    def without(self) -> Knowledge:
        """The names that the next try leaves out."""
        return (self._known.without(model=self._model, step=self._step) | self._left_out.keys()) - self._sent_again

    def refused(self, error: ProviderError, sent: Sent) -> bool:
        """Whether another try is worthwhile: a new guess, or something that another call has learned."""
        wanted = missed(error, sent)
        if wanted is not None:
            if wanted in self._ever_sent_again:
                return False
            self._ever_sent_again.add(wanted)
            self._sent_again.add(wanted)
            self._left_out.pop(wanted, None)
            return True
        name = complaint(error, sent)
        if name is not None:
            if name in self._ever_left_out:
                return False
            self._ever_left_out.add(name)
            self._left_out[name] = None
            self._sent_again.discard(name)
            return True
        self._sent_again.discard(self._tries or "")  # unknown words may be about this one
        return self.without != sent.without

    def answered(self, *, now: float) -> list[Discovery]:
        """The guesses were right. What nobody knew before is told."""
        learned = []
        for name in sorted(self._sent_again):
            if self._known.forget(name, model=self._model, step=self._step):
                again = "takes it now" if name == self._tries else "asks for it"
                learned.append(Discovery(name, f"is sent again, for the model {again}"))
        for name in self._left_out:
            discovery = self._known.learn(name, model=self._model, step=self._step, now=now)
            learned += [discovery] if discovery else []
        return [discovery for discovery in learned if self._known.is_news(discovery, model=self._model, now=now)]
