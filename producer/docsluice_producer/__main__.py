"""`docsluice-producer`: the other end of the topics. Documents in (send), outcomes out (follow), and again in."""

import argparse
import asyncio
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from docsluice.kafka.broker import Broker
from docsluice.settings.paths import why_nowhere
from docsluice.text.known_secrets import KnownSecrets
from docsluice_producer.arguments import DEFAULT_PARTITIONS, parsed
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.flags import PROGRAM, wrong
from docsluice_producer.command_line.numbers import harmless, printable
from docsluice_producer.command_line.unknown_variables import unknown_variables
from docsluice_producer.dead_letters.command import dead_letters
from docsluice_producer.documents.sources import select
from docsluice_producer.errors import ProducerFault, Stopped, WrongUsage
from docsluice_producer.following.follow import Following, follow
from docsluice_producer.following.reader import Start
from docsluice_producer.kafka.connection import broker_from, settings
from docsluice_producer.kafka.topics import checked_name
from docsluice_producer.sending.results import IfChanged
from docsluice_producer.sending.send import Destination, Sending, dry_run, send
from docsluice_producer.sending.version import metrics_urls


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, one of `Exit`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Documents are in every language, whatever this terminal's is.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    secrets = KnownSecrets()
    try:
        arguments = parsed(argv)
        environment = settings(
            _here(),
            env_file=arguments.env_file,
            flags={"KAFKA_BOOTSTRAP_SERVERS"} if arguments.bootstrap_servers else (),
            say=_say,
        )
        secrets.learn(environment.get("DOCSLUICE_KAFKA_SASL_PASSWORD"))
        for problem in unknown_variables(environment):
            _say(problem)
        broker = broker_from(environment, bootstrap_servers=arguments.bootstrap_servers)
        return _COMMANDS[arguments.command](arguments, environment, broker)
    except ProducerFault as fault:
        print(harmless(secrets.cut(f"{PROGRAM}: {fault}")), file=sys.stderr)
        if isinstance(fault, Stopped):
            return fault.exit_code
        return Exit.WRONG_USAGE if isinstance(fault, WrongUsage) else Exit.FAULT
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAULT


def _here() -> Path:
    if (problem := why_nowhere()) is not None:
        raise WrongUsage(problem)
    return Path.cwd()


def _say(line: str) -> None:
    print(f"{PROGRAM}: {printable(line)}", file=sys.stderr)


def _send(arguments: argparse.Namespace, environment: Mapping[str, str], broker: Broker) -> int:
    if arguments.partitions and not arguments.create_topic:
        raise wrong("send", "--partitions is for a topic that is made: say --create-topic too")
    sending = Sending(
        selection=select(arguments.paths, other_format=arguments.format),
        id_field=arguments.id_field,
        text_field=arguments.text_field,
        topic=checked_name(arguments.topic or environment.get("DOCSLUICE_INPUT_TOPIC", "documents")),
        limit=arguments.limit,
        if_changed=_if_changed(arguments, environment, broker),
    )
    if arguments.dry_run:
        return dry_run(sending)
    destination = Destination(
        broker=broker,
        wait_seconds=arguments.wait_seconds,
        create_partitions=(arguments.partitions or DEFAULT_PARTITIONS) if arguments.create_topic else None,
    )
    return asyncio.run(send(sending, destination))


def _if_changed(arguments: argparse.Namespace, environment: Mapping[str, str], broker: Broker) -> IfChanged | None:
    if not arguments.if_changed:
        for flag in ("pipeline_version", "metrics_url", "result_topic"):
            if getattr(arguments, flag):
                raise wrong("send", f"--{flag.replace('_', '-')} is for --if-changed: say that too")
        return None
    result_topic = arguments.result_topic or environment.get("DOCSLUICE_RESULT_TOPIC", "documents.results")
    return IfChanged(
        broker=broker,
        result_topic=checked_name(result_topic),
        wait_seconds=arguments.wait_seconds,
        version=arguments.pipeline_version or metrics_urls(environment, given=arguments.metrics_url),
    )


def _follow(arguments: argparse.Namespace, environment: Mapping[str, str], broker: Broker) -> int:
    result_topic = arguments.result_topic or environment.get("DOCSLUICE_RESULT_TOPIC", "documents.results")
    dead_letter_topic = arguments.dead_letter_topic or environment.get("DOCSLUICE_DEAD_LETTER_TOPIC", "documents.dlq")
    following = Following(
        broker=broker,
        topics=(checked_name(result_topic), checked_name(dead_letter_topic)),
        start=Start(from_beginning=arguments.from_beginning, since=arguments.since),
        wait_seconds=arguments.wait_seconds,
        until=arguments.until,
        timeout_seconds=arguments.timeout_seconds,
        to=arguments.to,
        as_json=arguments.json,
        metrics_urls=tuple(arguments.metrics_url or ()),
    )
    return asyncio.run(follow(following))


_COMMANDS = {"send": _send, "follow": _follow, "dead-letters": dead_letters}


if __name__ == "__main__":
    sys.exit(main())
