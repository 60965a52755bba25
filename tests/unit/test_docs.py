"""The pages say what the code does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from docsluice.messages import DeadLetterReason
from docsluice.validation.validation_problems import validation_problems
from docsluice_consumer.settings import Settings, variable_of
from docsluice_consumer.tasks.pipeline_file import Task
from docsluice_consumer.telemetry.catalogue import CONSTRAINTS
from docsluice_local.demo import HOW_LONG

ROOT = Path(__file__).parents[2]
SERVICE = sorted(ROOT.glob("consumer/docsluice_consumer/**/*.py"))
LOUD = {"warning", "error", "critical", "exception"}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMING_MODULES = [f"docs/contributing/{name}.md" for name in ("rooms", "tour", "from-dead-letter-to-code")]
OF_A_KIND = [page for page in PAGES if page.parent.parent.name == "docs" and page.parent.name != "decisions"]


def _rows(page: str, *, column: int = 1) -> dict[str, str]:
    """Each variable that a row of a table names first, with the cell of that column."""
    rows: dict[str, str] = {}
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            rows |= dict.fromkeys(re.findall(r"`([A-Z_]+)`", cells[0]), cells[column])
    return rows


def test_every_setting_has_its_row() -> None:
    """docs/reference/settings.md names every variable, and none that does not exist."""
    assert set(_rows("docs/reference/settings.md")) == {variable_of(field) for field in Settings.model_fields}


def test_every_setting_says_what_it_is_for() -> None:
    """docs/reference/settings.md has the description of the field itself, which is what `--help` shows."""
    described = {variable_of(field): info.description for field, info in Settings.model_fields.items()}
    assert all(described.values())
    meanings = _rows("docs/reference/settings.md", column=2)
    plain = {name: re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", cell).replace("`", "") for name, cell in meanings.items()}
    assert plain == described


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-documents.md"])
def test_the_demo_takes_as_long_as_it_says(page: str) -> None:
    """The pages have its own words."""
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert f"parameters and takes {HOW_LONG}." in text


@pytest.mark.parametrize("page", ["docs/reference/settings.md", "docs/how-to/run.md"])
def test_defaults_are_as_written(page: str) -> None:
    """A number in the default column is the default."""
    fields = {variable_of(field): info.default for field, info in Settings.model_fields.items()}
    numbers = {name: float(cell) for name, cell in _rows(page).items() if re.fullmatch(r"[\d.]+", cell)}
    assert numbers
    assert numbers == {name: float(fields[name]) for name in numbers}


def test_a_default_that_is_no_number_is_as_written() -> None:
    """Or a dash, where there is none."""
    rows = _rows("docs/reference/settings.md")
    for field, info in Settings.model_fields.items():
        if info.default is None:
            assert rows[variable_of(field)] == "\N{EN DASH}", field
        elif isinstance(info.default, str):
            assert rows[variable_of(field)] == f"`{info.default}`", field


def test_the_rule_of_a_tasks_name_is_written() -> None:
    """docs/reference/pipeline-file.md says it in the very words of the message."""
    with pytest.raises(ValidationError) as caught:
        Task.model_validate({"name": "My Task", "prompt": "P", "output": {"type": "text"}})
    (problem,) = validation_problems(caught.value, expected=Task)
    assert problem.sentence in " ".join((ROOT / "docs/reference/pipeline-file.md").read_text(encoding="utf-8").split())


def test_every_reason_has_its_remedy() -> None:
    """docs/reference/dead-letters.md has a row for each reason of the closed list."""
    text = (ROOT / "docs/reference/dead-letters.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_]+)` \|", text, flags=re.MULTILINE)) >= {
        reason.value for reason in DeadLetterReason
    }


def test_every_reason_leads_to_the_code() -> None:
    """docs/contributing/from-dead-letter-to-code.md has each reason, and files that name it."""
    text = (ROOT / "docs/contributing/from-dead-letter-to-code.md").read_text(encoding="utf-8")
    rows = re.findall(r"^ +\| (`.*?) \| (.*?) \|", text, re.MULTILINE)
    made = {
        (name, path) for cell, paths in rows for name in _reasons_in(cell) for path in re.findall(r"`(.+?)`", paths)
    }
    assert {name for name, _ in made} == set(DeadLetterReason)
    for name, path in made:
        code = (ROOT / "consumer/docsluice_consumer" / path).read_text(encoding="utf-8")
        assert f"DeadLetterReason.{name.upper()}" in code, (name, path)


def test_every_constraint_has_its_remedy() -> None:
    """docs/how-to/watch.md has a row for each thing that can limit."""
    text = (ROOT / "docs/how-to/watch.md").read_text(encoding="utf-8")
    table = text.partition("## What limits it?")[2].partition("\n## ")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(CONSTRAINTS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is to a file that is there, and to a heading that it has."""
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", OF_A_KIND, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_begins_with_what_the_reader_gains(page: Path) -> None:
    """Below its title, each page says what the reader can do after it."""
    assert re.match(r"# .+\n\nAfter this (page|tutorial) you ", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", NAMING_MODULES)
def test_every_module_that_is_named_exists(page: str) -> None:
    """Below the service, below the library, or from the top. A name without a folder is in the folder named before."""
    folder, named = "", 0
    for path in re.findall(r"`([\w/]+\.py)`", (ROOT / page).read_text(encoding="utf-8")):
        folder = path.rpartition("/")[0] or folder
        places = [ROOT / top / path for top in (".", "consumer/docsluice_consumer", "docsluice")]
        places += [top / folder / path for top in (ROOT / "consumer/docsluice_consumer", ROOT / "docsluice")]
        assert any(place.is_file() for place in places), path
        named += 1
    assert named > 20


def test_every_warning_of_the_log_is_explained() -> None:
    """docs/reference/log-events.md has a row for each event that is logged at the level WARNING or above."""
    logged = {name for path in SERVICE for name in _loud_events(path)}
    assert len(logged) > 50
    assert logged <= _explained_events()


def test_no_event_is_explained_that_does_not_exist() -> None:
    """Each event in a row is logged somewhere, at whatever level."""
    written = {name for path in SERVICE for name in _names(ast.parse(path.read_text(encoding="utf-8")))}
    assert {name for name in _explained_events() if "." in name} <= written


def _reasons_in(cell: str) -> set[str]:
    """The reasons in a cell of a table, without the stage that may follow."""
    return set(re.findall(r"`(\w+)`", cell.partition("stage")[0]))


def _explained_events() -> set[str]:
    """What stands in the first column of the tables, the names of fields among it."""
    page = (ROOT / "docs/reference/log-events.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}


def _loud_events(path: Path) -> Iterator[str]:
    """The events that a module logs at WARNING or above. An event that is a variable is found where it is given."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in ast.walk(tree):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[event, *_]) if level in LOUD:
                yield from _names(event if not isinstance(event, ast.Name) else tree)


def _names(tree: ast.AST) -> Iterator[str]:
    """Constants that look like an event: two lower-case words with a dot between."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and re.fullmatch(r"[a-z_]+\.[a-z_]+", str(node.value)):
            yield str(node.value)


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
