"""Measures how easily our prose reads: `python -m tests.prose [FILE …]` prints a line for each page and folder.

Counts words a sentence, the share of long sentences, and semicolons. Code blocks, tables and headings are no prose.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONG_WORDS = 30
FOLDERS = ("docsluice", "consumer", "producer", "deploy", "tests")
WRITTEN_BY_PROGRAMS = ("metrics.md", "providers.md")
INTRODUCTIONS = (ROOT / "deploy/docsluice_local/rehearsal/characters/introduction.md",)

_FENCE = re.compile(r"^\s*(```|~~~)")
_NO_PROSE = re.compile(r"^\s*(\||#|<!--|!!!|\?\?\?|\$ |>>> )|^\[[^]]+\]: ")
_ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s+")
_SECTION = re.compile(r"^(Args|Raises|Returns|Yields|Attributes):$")
_LINK = re.compile(r"!?\[((?:[^][]|\[[^]]*\])*)\]\([^)\s]*\)")
_CODE = re.compile(r"(`+).+?\1", re.DOTALL)
_END = re.compile(r"""(?<![.\s](?=[.]))[.!?…][)"'*_\]”]*\s+""")
_DIRECTIVE = re.compile(r"#\s*(?:noqa\b[^-]*|type: ignore\S*|fmt: \w+|pragma\b.*)(?:\s*-\s)?")
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "no.", "St.")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a text reads. Sums of texts are weighed by their sentences."""

    sentences: int
    words: int
    long: int
    """Sentences of more than `LONG_WORDS` words."""
    semicolons: int

    @property
    def words_a_sentence(self) -> float:
        """The mean. 0 for a text without prose."""
        return self.words / self.sentences if self.sentences else 0.0

    @property
    def long_share(self) -> float:
        """The part of the sentences that are long, 0 to 1."""
        return self.long / self.sentences if self.sentences else 0.0

    def __str__(self) -> str:
        return (
            f"{self.sentences:6} sentences  {self.words_a_sentence:5.1f} words  "
            f"{self.long_share:5.1%} long  {self.semicolons:4} semicolons"
        )


def measure(sentences: Iterable[str]) -> Measure:
    """Counts what is in these sentences."""
    kept = list(sentences)
    told = [len(each.split()) for each in kept]
    return Measure(
        sentences=len(told),
        words=sum(told),
        long=sum(count > LONG_WORDS for count in told),
        semicolons=sum(each.count(";") for each in kept),
    )


def sentences_of(markdown: str) -> list[str]:
    """The sentences of a page or a docstring, each on one line. Code in backticks counts as one word."""
    return [each for block in _blocks(markdown) for each in _split(block)]


def docstrings_of(source: str) -> Iterator[str]:
    """Each docstring of a module, those under constants and fields included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield "\n".join(line.strip() for line in node.value.value.splitlines())


def comments_of(source: str) -> Iterator[str]:
    """Each comment of a module, the lines of one block together. Directives to tools are none."""
    block: list[str] = []
    last_line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = _DIRECTIVE.sub("", token.string).lstrip("# ").strip()
        if token.start[0] != last_line + 1 and block:
            yield " ".join(block)
            block = []
        block += [text] * bool(text)
        last_line = token.start[0]
    if block:
        yield " ".join(block)


def pages() -> list[Path]:
    """The pages that a person has written. The two that a program writes would make the rest look better."""
    of_docs = [page for page in (ROOT / "docs").rglob("*.md") if page.name not in WRITTEN_BY_PROGRAMS]
    return sorted([*ROOT.glob("*.md"), *of_docs, *INTRODUCTIONS])


def modules(folder: str) -> list[Path]:
    """Every module below a top folder."""
    return sorted((ROOT / folder).rglob("*.py"))


def measure_file(path: Path) -> Measure:
    """A page's prose, or a module's docstrings and comments."""
    return measure(sentences_in_file(path))


def sentences_in_file(path: Path) -> list[str]:
    """All sentences of a page, or of a module's docstrings and comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return [each for part in (*docstrings_of(text), *comments_of(text)) for each in sentences_of(part)]
    return sentences_of(text)


def measure_files(paths: Iterable[Path]) -> Measure:
    """All of them together."""
    return measure(each for path in paths for each in sentences_in_file(path))


def _blocks(markdown: str) -> Iterator[str]:
    """Paragraphs and list items. A fence, a table, a heading and a blank line end one."""
    block: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        prose = not fenced and not _FENCE.match(line) and not _NO_PROSE.match(line) and not _SECTION.match(line.strip())
        if not prose or not line.strip() or _ITEM.match(line):
            if block:
                yield " ".join(block)
            block = []
        if prose and line.strip():
            block.append(_ITEM.sub("", line).strip())
    if block:
        yield " ".join(block)


def _split(block: str) -> Iterator[str]:
    plain = _LINK.sub(lambda link: link[1], block)
    plain = _CODE.sub("code", plain)
    for abbreviation in _ABBREVIATIONS:
        plain = plain.replace(abbreviation, abbreviation.replace(".", ""))
    lines = _END.sub(lambda end: end[0].rstrip() + "\n", plain).split("\n")
    yield from (each.strip() for each in lines if each.strip())


def _print(name: str, told: Measure) -> None:
    print(f"{told}  {name}")  # noqa: T201 - a command-line program prints


def main() -> None:
    """Prints the measure of the files that are named, sentence by sentence, or of everything we wrote."""
    if len(sys.argv) > 1:
        for path in map(Path, sys.argv[1:]):
            for sentence in sorted(sentences_in_file(path), key=lambda each: -len(each.split())):
                if len(sentence.split()) > LONG_WORDS or ";" in sentence:
                    print(f"{len(sentence.split()):4}  {sentence}")  # noqa: T201 - as above
            _print(str(path), measure_file(path))
        return
    for page in pages():
        _print(str(page.relative_to(ROOT)), measure_file(page))
    _print("all pages", measure_files(pages()))
    for folder in FOLDERS:
        _print(f"docstrings and comments of {folder}/", measure_files(modules(folder)))


if __name__ == "__main__":
    main()
