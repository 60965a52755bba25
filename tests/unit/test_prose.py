"""What we write is easy to read: short sentences, few long ones, hardly a semicolon."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.prose import (
    FOLDERS,
    ROOT,
    Measure,
    comments_of,
    docstrings_of,
    measure,
    measure_file,
    measure_files,
    modules,
    pages,
    sentences_of,
)

MOST_WORDS = 16.0
MOST_LONG_SHARE = 0.06
SENTENCES_A_SEMICOLON = 50


def _problems(told: Measure) -> list[str]:
    """What is wrong with a text. A short one may have one long sentence and one semicolon."""
    problems = []
    if told.words_a_sentence > MOST_WORDS:
        problems.append(f"{told.words_a_sentence:.1f} words a sentence, at most {MOST_WORDS}")
    if told.long > max(1, MOST_LONG_SHARE * told.sentences):
        problems.append(f"{told.long_share:.0%} of the sentences are long, at most {MOST_LONG_SHARE:.0%}")
    if told.semicolons > math.ceil(told.sentences / SENTENCES_A_SEMICOLON):
        problems.append(f"{told.semicolons} semicolons, at most one in {SENTENCES_A_SEMICOLON} sentences")
    return problems


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_easy_to_read(page: Path) -> None:
    """Each page by itself: `python -m tests.prose PAGE` shows its long sentences."""
    assert _problems(measure_file(page)) == []


def test_all_pages_together_are_easy_to_read() -> None:
    """Here a short page gets no allowance."""
    told = measure_files(pages())
    assert _problems(told) == []
    assert told.sentences > 1_000


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_and_comments_are_easy_to_read(folder: str) -> None:
    """Those of a folder together."""
    assert _problems(measure_files(modules(folder))) == []


def test_a_hard_page_is_told() -> None:
    """Long sentences and semicolons are each a problem."""
    long = " ".join(["word"] * 40) + "."
    assert len(_problems(measure(sentences_of(f"{long} {long}")))) == 2
    assert len(_problems(measure(sentences_of("One; two. Three; four.")))) == 1
    assert _problems(measure(sentences_of("A short sentence. And another one."))) == []


def test_comments_and_docstrings_are_measured() -> None:
    """The lines of a comment are one text, and what a tool reads is none."""
    source = '''"""A module. It has
two sentences."""
# A comment
# over two lines.
x = 1  # noqa: E501 - a reason
y = 2  # type: ignore[misc]
'''
    assert list(docstrings_of(source)) == ["A module. It has\ntwo sentences."]
    assert list(comments_of(source)) == ["A comment over two lines. a reason"]


def test_what_is_no_prose_is_not_measured() -> None:
    """Code, tables, headings and addresses are left out, a list item is a text of its own."""
    page = """# A heading; not measured

    First of `some; code` here. See [a link](https://example.com/a;b), e.g. this one.

```python
a = 1; b = 2
```

| a; b |
|---|

- One item
- Another
  item."""
    assert sentences_of(page) == [
        "First of code here.",
        "See a link, eg this one.",
        "One item",
        "Another item.",
    ]
