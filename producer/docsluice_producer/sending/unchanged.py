"""Documents that need not be sent: they have a result under the consumers' pipeline. Pure."""

import json

from docsluice.documents.rows import Document
from docsluice.messages import result_id
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.sending.remembered import RememberedIds


class Unchanged:
    """Skips documents that have a result under this version, and repeats of an earlier one.

    A repeat has the same id and text, as for `result_id`. Metadata do not change the question.
    """

    def __init__(self, *, pipeline_version: str) -> None:
        self.pipeline_version = pipeline_version
        self.results = RememberedIds()
        self._sent = RememberedIds()
        self._done = 0
        self._repeated = 0

    def passes_over(self, document: Document) -> bool:
        """Whether to skip a document. If not, it is remembered as sent."""
        # Read back from the sent bytes, because the consumer sees those.
        text = json.loads(document.value)["text"]
        identity = result_id(document_id=document.document_id, text=text, pipeline_version=self.pipeline_version)
        if identity in self.results:
            self._done += 1
            return True
        if identity in self._sent:
            self._repeated += 1
            return True
        self._sent.add(identity)
        return False

    @property
    def summary(self) -> list[str]:
        """Lines for the report of `send`: what was skipped, and why."""
        have = "has" if self._done == 1 else "have"
        which = f"that {have} a result under pipeline version {self.pipeline_version}"
        lines = [f"passed over {counted(self._done, 'document')} {which}"]
        if self._repeated:
            have = "has" if self._repeated == 1 else "have"
            lines.append(f"passed over {counted(self._repeated, 'document')} that {have} id and text of an earlier one")
        return lines
