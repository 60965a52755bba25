"""Which commands there are. Each is loaded when it is called: `docsluice --help` imports none of them."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import NamedTuple

from cyclopts import App, Group

from docsluice.cli.help_layout import HelpLayout

_PIPELINE = Group("A pipeline, before it runs", sort_key=1)
_SERVICE = Group("The service", sort_key=2)
_TOPICS = Group("Documents in, results out", sort_key=3)
_MACHINE = Group("On this machine, without Docker or API key", sort_key=4)
_ITSELF = Group("The program", sort_key=5)

_PAGE = """\
Runs LLM tasks on the documents of a Kafka topic.

$ docsluice demo
$ docsluice check && docsluice run
$ docsluice send texts/ && docsluice follow

Settings come from the environment and .env. Flags override them."""


class Command(NamedTuple):
    """A command: its name, one line on it, where it is written, and its place in `--help`."""

    name: str
    summary: str
    target: str
    group: Group


COMMANDS = (
    Command("run", "Consume until told to stop.", "docsluice_consumer.commands.service_commands:run", _SERVICE),
    Command(
        "check",
        "Try the settings, the pipeline file, the broker and the provider, and say what is missing.",
        "docsluice_consumer.commands.service_commands:check",
        _SERVICE,
    ),
    Command(
        "init",
        "Write a pipeline file to begin with, and documents to try it on.",
        "docsluice_consumer.commands.pipeline_commands:init",
        _PIPELINE,
    ),
    Command(
        "explain",
        "Show what a pipeline file makes of its tasks, and what a change of it means.",
        "docsluice_consumer.commands.pipeline_commands:explain",
        _PIPELINE,
    ),
    Command(
        "try",
        "Put a few documents to the model, and see the prompts and the answers.",
        "docsluice_consumer.commands.pipeline_commands:try_",
        _PIPELINE,
    ),
    Command(
        "plan",
        "Tell what all documents will take: tokens, dollars and hours.",
        "docsluice_consumer.commands.plan_command:plan",
        _PIPELINE,
    ),
    Command(
        "evaluate",
        "Tell how good the answers are, on documents whose right answers you know.",
        "docsluice_consumer.commands.evaluate_command:evaluate",
        _PIPELINE,
    ),
    Command(
        "schema",
        "Print what crosses the topics, for machines.",
        "docsluice_consumer.commands.service_commands:schema",
        _SERVICE,
    ),
    Command("send", "Send documents to the input topic.", "docsluice_producer.commands:send", _TOPICS),
    Command("follow", "Show results and dead letters as they come.", "docsluice_producer.commands:follow", _TOPICS),
    Command(
        "dead-letters",
        "List, show, redrive, export and drop dead letters.",
        "docsluice_producer.dead_letters.commands:dead_letters",
        _TOPICS,
    ),
    Command("demo", "Run all of it on real documents, and watch.", "docsluice_local.demo:demo", _MACHINE),
    Command("broker", "Run a broker that speaks Kafka's protocol.", "docsluice_local.broker_command:broker", _MACHINE),
    Command("model", "Serve a small real model.", "docsluice_local.model:model", _MACHINE),
    Command("rehearse", "Serve a provider to rehearse with.", "docsluice_local.rehearsal.command:rehearse", _MACHINE),
)


def app_of(program: str, names: Collection[str], *, called: str | None) -> App:
    """The command line of a program that has these commands, of which one is called.

    That one brings the page of its own `--help`. The others are a line in that of the program, and are not loaded.
    """
    app = App(
        name=program,
        help=_PAGE,
        version=lambda: f"{program} {version('docsluice')}",
        group_commands=_ITSELF,
        help_format="plaintext",
        help_formatter=HelpLayout(),
    )
    app.register_install_completion_command(help="Install completion for your shell.")
    for place, command in enumerate(COMMANDS):
        if command.name in names:
            summary = None if command.name == called else command.summary
            app.command(command.target, name=command.name, help=summary, group=command.group, sort_key=place)
    return app
