"""All secrets of this process.

Everything that leaves it goes through `cut`: logs, metrics, errors, dead letters, answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from docsluice.text.redaction import Redaction

_SHORTEST = 8
"""A shorter secret may be any word, such as the placeholder `ollama`."""
_MOST_PASSING = 64
"""Keys that were obtained again. Older ones were refused, or have expired."""
_MOST_CACHED = 4096


class KnownSecrets:
    """Learns secrets as they are met.

    `public` are words that everybody sees, such as the names of topics. A part of a public word is no secret.
    """

    def __init__(self, public: Iterable[str] = ()) -> None:
        self._public = tuple(word.casefold() for word in public)
        self._lasting: dict[str, None] = {}
        self._passing: dict[str, None] = {}
        self._redaction = Redaction(())
        self._cached: dict[str, str] = {}

    def show(self, words: Iterable[str]) -> None:
        """Add public words. Secrets learned before stay secret."""
        self._public = (*self._public, *(word.casefold() for word in words))

    def learn(self, secret: str | None, *, is_passing: bool = False) -> None:
        """Keep a secret out of everything from now on. Of passing ones, only the newest are kept."""
        if not secret or len(secret) < _SHORTEST or secret in self._lasting or secret in self._passing:
            return
        if any(secret.casefold() in word for word in self._public):
            return
        (self._passing if is_passing else self._lasting)[secret] = None
        while len(self._passing) > _MOST_PASSING:
            del self._passing[next(iter(self._passing))]
        self._redaction = Redaction(self.known())
        self._cached.clear()

    def known(self) -> tuple[str, ...]:
        """All of them."""
        return (*self._lasting, *self._passing)

    def cut(self, text: str, *, most: int | None = None) -> str:
        """Cut the secrets out of a text, and leave the rest. At most `most` of its characters."""
        return self._redaction.cut(text, most=most)

    def cut_label(self, text: str) -> str:
        """The same for a text that comes often, with a cache."""
        if text not in self._cached:
            if len(self._cached) >= _MOST_CACHED:
                self._cached.clear()
            self._cached[text] = self.cut(text)
        return self._cached[text]

    def cut_all(self, value: Any) -> Any:
        """Cut secrets out of the fields of a log line, or one of them."""
        match value:
            case str():
                return self.cut(value)
            case None | bool() | int() | float():
                return value
            case Mapping():
                return {self.cut_all(name): self.cut_all(one) for name, one in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.cut_all(one) for one in value]
            case _:
                shown = repr(value)
                return self.cut(shown) if self._redaction.is_in(shown) else value
