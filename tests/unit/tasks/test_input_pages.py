"""The pages about `input:` say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from docsluice.expressions.expression import RECORD_NAMES
from docsluice_consumer.bootstrap import input_rules_of
from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.tasks.input_entry import InputEntry
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.tasks.prompts import MOST_CHARACTERS
from tests.fakes.samples import pipeline_file
from tests.fakes.tickets import ticket

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference/pipeline-file.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to/read-a-topic.md").read_text(encoding="utf-8")


def _section(heading: str) -> str:
    return REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_field_and_every_name_has_its_row() -> None:
    """And none that does not exist."""
    rows = re.findall(r"^\| (`.+?) \|", _section("Input"), re.MULTILINE)
    named = re.findall(r"`([^`]+)`", " ".join(rows))
    names = {name.partition(".")[0] for name in named if name.startswith("$")}
    assert {name for name in named if not name.startswith("$")} == set(InputEntry.model_fields)
    assert names == {f"${name}" for name in RECORD_NAMES}


def test_the_bound_on_a_value_is_as_written() -> None:
    """That of metadata in a prompt."""
    assert f"A value may have {MOST_CHARACTERS:,} characters." in _section("Metadata in prompts")


def test_the_file_of_the_page_reads_a_ticket() -> None:
    """It is copied."""
    (whole,) = re.findall(r"```yaml\n(.*?)```", HOW_TO, re.DOTALL)
    file = PipelineFile.model_validate(yaml.safe_load(whole))
    read = RecordReader(rules=input_rules_of(file)).read(ticket())
    assert read is not None
    assert (read.event.document_id, read.event.metadata) == ("17", {"customer": "c-1", "tenant": "acme"})


RECIPES = re.findall(r"^\| [^|`]+ \| (`.+?`(?:, `.+?`)*)", HOW_TO.partition("## Other")[2], re.MULTILINE)


@pytest.mark.parametrize("fields", RECIPES)
def test_the_recipes_for_other_topics_can_be_used(fields: str) -> None:
    """Each as it stands in its row."""
    assert len(RECIPES) > 5
    entry = yaml.safe_load("\n".join(re.findall(r"`(.+?)`", fields)))
    file = pipeline_file(input=entry)
    assert entry.keys() <= InputEntry.model_fields.keys()
    input_rules_of(file)
