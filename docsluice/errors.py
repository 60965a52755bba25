"""The roots of what docsluice raises on purpose. Each program draws its own tree from here."""

from __future__ import annotations


class DocsluiceError(Exception):
    """The root of everything that is raised on purpose."""


class ConfigurationError(DocsluiceError):
    """Settings or files that cannot work. `problems` are sentences. Each names what to change."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
