"""The pipeline file: what is wrong with it is said at the start, in one line a problem, naming the field."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.tasks.pipeline_file import PipelineFile, load_pipeline_file
from docsluice_consumer.tasks.step_building import steps_of
from tests.fakes.samples import pipeline_file
from tests.fakes.yaml_problems import without_place

BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGED_BOMB = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
"""Nine of the one before, eleven times: four gigabytes and more."""

GOOD: dict[str, Any] = {
    "name": "sample",
    "mode": "fused",
    "instructions": "Be brief.",
    "tasks": [
        {"name": "summary", "prompt": "Summarize.", "output": {"type": "text"}, "temperature": 0.5},
        {
            "name": "category",
            "prompt": "Classify.",
            "output": {"type": "choice", "labels": ["tech", "other"]},
            "temperature": 0.5,
        },
    ],
    "examples": [{"document": "A chip.", "answers": {"summary": "Chips.", "category": "tech"}}],
}


def _problems(tmp_path: Path, content: str | bytes) -> list[str]:
    """What is said about such a file. Always lines of their own, each with the file's name."""
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline_file(path)
    assert not any("\n" in problem for problem in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [without_place(problem, path) for problem in caught.value.problems]


def _changed(*path: str | int, to: Any) -> str:
    """`GOOD` as YAML with one value changed, or left out with `to=...`."""
    fields = copy.deepcopy(GOOD)
    place: Any = fields
    for part in path[:-1]:
        place = place[part]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return yaml.safe_dump(fields, allow_unicode=True)


def _write(tmp_path: Path, fields: Any) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    return path


def test_a_good_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Every field arrives."""
    file = load_pipeline_file(_write(tmp_path, GOOD))
    assert file.model_dump(exclude_unset=True, by_alias=True) == GOOD


def test_the_built_in_pipeline() -> None:
    """Without a file: three sentences, one of four categories, five keywords, each in a call of its own."""
    file = load_pipeline_file(None)
    assert (file.name, file.mode) == ("built-in", "fanout")
    assert [(task.name, task.output.model_dump(exclude_none=True)) for task in file.tasks] == [
        ("summary", {"type": "text", "sentences": 3}),
        ("category", {"type": "choice", "labels": ["tech", "business", "health", "other"]}),
        ("keywords", {"type": "list", "items": 5, "at_least": 3}),
    ]
    for mode in ("fanout", "fused"):
        assert steps_of(file, mode=mode, default_model="m")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[3] / "deploy").rglob("pipelines/*.y*ml")), ids=str)
def test_every_pipeline_that_is_shipped_works(path: Path) -> None:
    """Examples that people copy must load, in their own mode."""
    file = load_pipeline_file(path)
    assert steps_of(file, mode=file.mode, default_model="m")


BAD_FIELDS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("name",), ..., "name: missing"),
    (("name",), "  ", "name: must not be blank"),
    (("mode",), "fanned", "mode: must be one of fanout, fused"),
    (("mood",), "fused", "mood: unknown field; did you mean mode? known are: name, mode,"),
    (("instructions",), ["a"], "instructions: must be a string"),
    (("tasks",), ..., "tasks: missing"),
    (("tasks",), [], "tasks: must not be empty"),
    (("tasks",), "summary", "tasks: must be a list"),
    (("tasks", 0), "summary", "tasks.0: must be a mapping of names to values"),
    (("tasks", 1, "name"), "summary", "tasks: each name may occur once"),
    (("tasks", 0, "name"), ..., "tasks.0.name: missing"),
    (
        ("tasks", 0, "name"),
        "My Task",
        "tasks.0.name: must be 1 to 64 lower-case letters (a to z), digits and underscores, beginning",
    ),
    (
        ("tasks", 0, "name"),
        "x" * 65,
        "tasks.0.name: must be 1 to 64 lower-case letters (a to z), digits and underscores, beginning",
    ),
    (("tasks", 0, "name"), "1st", "tasks.0.name: must be 1 to 64 lower-case letters"),
    (("tasks", 0, "name"), "tóm", "tasks.0.name: must be 1 to 64 lower-case letters"),
    (("tasks", 0, "name"), "summary\n", "tasks.0.name: must be 1 to 64 lower-case letters"),
    (("tasks", 0, "name"), 7, "tasks.0.name: must be a string; YAML reads it as a number: put"),
    (("tasks", 0, "prompt"), ..., "tasks.summary.prompt: missing"),
    (("tasks", 0, "prompt"), "", "tasks.summary.prompt: must not be blank"),
    (("tasks", 0, "promt"), "x", "tasks.summary.promt: unknown field; did you mean prompt? known are: name,"),
    (("tasks", 0, "output"), ..., "tasks.summary.output: missing"),
    (("tasks", 0, "output"), {"type": "prose"}, "tasks.summary.output: type must be one of text, choice, list, json"),
    (("tasks", 0, "output"), {"sentences": 3}, "tasks.summary.output: type is missing"),
    (
        ("tasks", 0, "output"),
        {"type": "text", "sentences": 0},
        "tasks.summary.output.sentences: must be at least 1",
    ),
    (
        ("tasks", 0, "output"),
        {"type": "text", "items": 3},
        "tasks.summary.output.items: unknown field; known are: type, sentences, max_characters",
    ),
    (("tasks", 1, "output", "labels"), ["tech"], "tasks.category.output.labels: must have at least 2 entries"),
    (("tasks", 1, "output", "labels"), ["tech", "TECH"], "tasks.category.output.labels: the labels must differ"),
    (
        ("tasks", 1, "output", "labels"),
        [True, False],
        "tasks.category.output.labels.0: must be a string; YAML reads it as true or false",
    ),
    (
        ("tasks", 0, "output"),
        {"type": "json", "schema": {"type": "x"}},
        "tasks.summary.output.schema: not a JSON schema",
    ),
    (
        ("tasks", 0, "output"),
        {"type": "json", "schema": {"properties": {"mail": {"pattern": "^(?=.*@)"}}}},
        "tasks.summary.output.schema: properties.mail.pattern: ^(?=.*@) has look-around",
    ),
    (("tasks", 0, "model"), " ", "tasks.summary.model.0: must not be blank"),
    (("tasks", 0, "max_output_tokens"), 0, "tasks.summary.max_output_tokens: must be at least 1"),
    (("tasks", 0, "temperature"), 2.1, "tasks.summary.temperature: must be at most 2"),
    (("tasks", 0, "temperature"), "hot", "tasks.summary.temperature: must be a number"),
    (("tasks", 0, "top_p"), 0, "tasks.summary.top_p: must be greater than 0"),
    (("tasks", 0, "frequency_penalty"), -3, "tasks.summary.frequency_penalty: must be at least -2"),
    (("tasks", 0, "presence_penalty"), 3, "tasks.summary.presence_penalty: must be at most 2"),
    (("examples",), {"document": "x"}, "examples: must be a list"),
    (("examples", 0, "document"), " ", "examples.0.document: must not be blank"),
    (("examples", 0, "answers"), {}, "examples.0.answers: must not be empty"),
    (("examples", 0, "answer"), {}, "examples.0.answer: unknown field; did you mean answers? known"),
    (("examples", 0, "answers", "sumary"), "x", "examples.0.answers: no task is named sumary"),
    (("examples", 0, "answers", "category"), "sports", "examples.0.answers.category: must be one of: tech, other"),
    (("examples", 0, "answers", "summary"), ["a"], "examples.0.answers.summary: must be a string that is not blank"),
]


@pytest.mark.parametrize(("path", "to", "words"), BAD_FIELDS)
def test_a_bad_field_is_named(tmp_path: Path, path: tuple[str | int, ...], to: Any, words: str) -> None:
    """One line, beginning with the field's place in the file."""
    problems = _problems(tmp_path, _changed(*path, to=to))
    assert len(problems) in {1, 2}
    assert problems[0].startswith(words)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Nobody wants to fix a file one start at a time."""
    fields = copy.deepcopy(GOOD)
    fields["mode"] = "x"
    fields["tasks"][0]["temperature"] = 9
    fields["tasks"][1]["prompt"] = ""
    assert [problem.split(":")[0] for problem in _problems(tmp_path, yaml.safe_dump(fields))] == [
        "mode",
        "tasks.summary.temperature",
        "tasks.category.prompt",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must be a mapping of names to values"),
        ("- a\n- b", "must be a mapping of names to values"),
        ("just words", "must be a mapping of names to values"),
        ("a: [", "not YAML: while parsing a flow node"),
        ("name:\tx\n\t- y", "not YAML: while scanning"),
        ("name: x\x00", "not YAML: unacceptable character"),
        ("name: !!python/object:os.system {}", "not YAML: could not determine a constructor"),
        ("a: 1\n---\nb: 2", "not YAML: expected a single document"),
        ("name: *nobody", "not YAML: found undefined alias"),
        ("{[a]: 1, {b: c}: 2}", "not YAML: while constructing a mapping"),
        ("name: &a [*a]", "holds what JSON cannot: ValueError: Circular reference"),
        (BOMB, "unfolds to more than 10,000,000 characters, for its aliases (*name) repeat what repeats others"),
        (MERGED_BOMB, "unfolds to more than 10,000,000 characters"),
        ("a: &a " + "x" * 1_000_000 + "\nb: [" + ", ".join(["*a"] * 10) + "]", "unfolds to more than 10,000,000"),
        ("name: .nan", "holds what JSON cannot: ValueError: "),
        ("name: !!binary eA==", "holds what JSON cannot: TypeError: "),
        ("name: !!int x", "holds what JSON cannot: ValueError: "),
        ("name: !!bool x", "holds what JSON cannot: KeyError: "),
        ("name: !!timestamp x", "holds what JSON cannot: AttributeError: "),
        ('name: "\\ud800"', "holds what JSON cannot: UnicodeEncodeError: "),
        ("[" * 1500, "nested too deeply to read"),
        (b"name: \xff\xfe\xff", "not valid UTF-8 at byte 6"),
    ],
)
def test_a_file_that_is_no_yaml(tmp_path: Path, content: str | bytes, words: str) -> None:
    """Whatever is in it, it is one line and no stack trace."""
    problems = _problems(tmp_path, content)
    assert len(problems) == 1
    assert problems[0].startswith(words)


def test_where_the_yaml_is_wrong_is_told(tmp_path: Path) -> None:
    """With the line and column that an editor shows."""
    (problem,) = _problems(tmp_path, "name: x\ntasks: [a, b\nmode: y: z\n")
    assert f'in "{tmp_path / "pipeline.yaml"}", line ' in problem


@pytest.mark.parametrize(("name", "words"), [("missing.yaml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_names_its_variable(tmp_path: Path, name: str, words: str) -> None:
    """The path came from a setting, and that is what must be changed."""
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline_file(tmp_path / name)
    (problem,) = caught.value.problems
    assert problem.startswith(f"DOCSLUICE_PIPELINE: cannot read {tmp_path / name}: {words}")


def test_a_date_is_the_text_that_it_is(tmp_path: Path) -> None:
    """YAML would make a date of a label that looks like one, and JSON could not hold it."""
    fields = _changed("tasks", 1, "output", "labels", to=["2024-01-01", "older"]).replace("'2024-01-01'", "2024-01-01")
    fields = fields.replace("category: tech", "category: 2024-01-01")
    path = tmp_path / "pipeline.yaml"
    path.write_text(fields)
    file = load_pipeline_file(path)
    assert file.examples[0].answers["category"] == "2024-01-01"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
SCHEMA_LIKE = st.dictionaries(
    st.sampled_from(
        ["type", "properties", "items", "enum", "pattern", "required", "anyOf", "$ref", "minItems", "const"]
    ),
    JSON | st.sampled_from(["string", "object", "array"]),
    max_size=4,
)
OUTPUT_LIKE = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "choice", "list", "json"])},
    optional={
        "labels": st.lists(st.text(max_size=5), max_size=4),
        "items": st.integers(-1, 5),
        "sentences": st.integers(-1, 5),
        "schema": SCHEMA_LIKE,
    },
)


@given(output=OUTPUT_LIKE, answer=JSON, more=st.dictionaries(st.sampled_from(["model", "examples", "mode"]), JSON))
def test_whatever_is_in_the_file_it_works_or_is_told(
    tmp_path_factory: pytest.TempPathFactory, output: dict[str, Any], answer: Any, more: dict[str, Any]
) -> None:
    """A file that loads makes requests and reads answers. Any other is a configuration error, never another one."""
    task = {"name": "own", "prompt": "P", "output": output}
    fields = {"name": "x", "tasks": [task], "examples": [{"document": "D", "answers": {"own": answer}}], **more}
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(fields, allow_unicode=True), encoding="utf-8")
    try:
        file = load_pipeline_file(path)
        (step,) = steps_of(file, mode="fanout", default_model="m")
    except ConfigurationError as error:
        problems = error.problems
        assert problems
    else:
        request = step.request("text")
        json.dumps(request.schema)
        assert request.input_bytes > 0
        assert file.version(mode="fanout", default_model="m")


def _version(file: PipelineFile, *, mode: str = "fanout", default_model: str = "m") -> str:
    return file.version(mode=mode, default_model=default_model)


VERSION_CHANGES: list[tuple[tuple[str | int, ...], Any]] = [
    (("instructions",), "Be long."),
    (("tasks", 0, "prompt"), "Summarise."),
    (("tasks", 0, "name"), "abstract"),
    (("tasks", 0, "model"), "other"),
    (("tasks", 0, "temperature"), 0.6),
    (("tasks", 0, "top_p"), 0.9),
    (("tasks", 0, "max_output_tokens"), 10),
    (("tasks", 0, "frequency_penalty"), 1),
    (("tasks", 0, "presence_penalty"), 1),
    (("tasks", 0, "output"), {"type": "text", "sentences": 2}),
    (("tasks", 0, "output"), {"type": "list", "items": 2, "at_least": 1}),
    (("tasks", 1, "output", "labels"), ["other", "tech"]),
    (("tasks", 1), ...),
    (("examples", 0, "document"), "A chip!"),
    (("examples", 0, "answers", "summary"), "Chip."),
    (("examples",), []),
]


@pytest.mark.parametrize(("path", "to"), VERSION_CHANGES)
def test_whatever_shapes_an_answer_changes_the_version(path: tuple[str | int, ...], to: Any) -> None:
    """A result says by its version how it was made, and an answer of another version is never reused."""
    before, after = copy.deepcopy(GOOD), yaml.safe_load(_changed(*path, to=to))
    if path[0] == "tasks":  # the examples may not fit the changed task
        del before["examples"], after["examples"]
    assert _version(PipelineFile.model_validate(after)) != _version(PipelineFile.model_validate(before))


def test_mode_and_default_model_change_the_version() -> None:
    """The same tasks in one call, or asked of another model, are other questions."""
    file = pipeline_file()
    versions = {_version(file), _version(file, mode="fused"), _version(file, default_model="n")}
    assert len(versions) == 3


def test_the_order_of_a_schemas_properties_changes_the_version() -> None:
    """A model fills them in that order: a reason before the verdict gives another verdict."""
    tasks = [
        {
            "name": "own",
            "prompt": "P",
            "output": {"type": "json", "schema": {"type": "object", "properties": {name: {} for name in names}}},
        }
        for names in (("reason", "verdict"), ("verdict", "reason"))
    ]
    first, second = (_version(pipeline_file(task)) for task in tasks)
    assert first != second


def test_what_shapes_no_answer_leaves_the_version(tmp_path: Path) -> None:
    """Neither the pipeline's name, nor comments and layout, nor the mode that the setting overrides."""
    version = _version(PipelineFile.model_validate(GOOD))
    assert _version(PipelineFile.model_validate(GOOD | {"name": "renamed", "mode": "fanout"})) == version
    path = tmp_path / "pipeline.yaml"
    path.write_text("# A comment\n" + yaml.safe_dump(GOOD, default_flow_style=True, sort_keys=False))
    assert _version(load_pipeline_file(path)) == version


def test_a_default_model_that_no_task_uses_leaves_the_version() -> None:
    """Where each task names its own, the default asks nobody anything."""
    file = pipeline_file({"name": "own", "prompt": "P", "output": {"type": "text"}, "model": "mine"})
    assert _version(file, default_model="a") == _version(file, default_model="b")


def test_a_list_that_allows_no_fewer_keeps_its_version() -> None:
    """It is asked for as it was before there was a choice, and what was paid for is still good."""
    output = {"type": "list", "items": 3, "candidates": 4}
    keywords = {"name": "keywords", "prompt": "Name 3.", "output": output}
    assert _version(pipeline_file(keywords)) == "a2ab790bf962"
    (step,) = steps_of(pipeline_file(keywords), mode="fanout", default_model="m")
    assert step.fingerprint("text") == "e3b13559b80ca18608452f70b62f807a135e6cc30b31f56df27d835019c2fd33"
    allowing = {**keywords, "output": {**output, "at_least": 2}}
    assert _version(pipeline_file(allowing)) != "a2ab790bf962"


def test_a_version_is_the_same_in_every_process() -> None:
    """Replicas of one service write the same version, and so does the next release, unless it asks differently."""
    assert _version(PipelineFile.model_validate(GOOD)) == "5780936d2b28"


@pytest.mark.parametrize(
    "line", ['api_key: "sk-secret, b: x', "api_key: sk-secret: x", "api_key: @sk-secret", "api_key: *sk-secret"]
)
def test_a_file_that_is_no_yaml_is_not_quoted(line: str, tmp_path: Path) -> None:
    """The line and the column are told. The line itself may hold a key."""
    (problem,) = _problems(tmp_path, f"name: m\n{line}\n")
    assert problem.startswith("not YAML: ")
    assert "line 2, column" in problem
    assert "secret" not in problem
