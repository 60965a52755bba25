"""The whole of docsluice on this machine: broker, model, consumer and real documents, watched live.

`make demo` runs it. Nothing is sent anywhere and nothing is paid for, unless a model of OpenAI's is named.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from docsluice_local.broker import embedded_broker
from docsluice_local.demo_report import report
from docsluice_local.demo_watch import Watch
from docsluice_local.model import MODEL_NAME, SLOTS, local_model
from docsluice_local.process import Child, ChildFailedError, child_process, free_port

_HERE = Path(__file__).parent
_DOCUMENTS = _HERE / "documents"
_LOCAL_PIPELINE = _HERE / "pipelines" / "local.yaml"
_RUN_DIR = Path(".docsluice") / "demo"
_INTERRUPTED = 130
_WIDTH_OF_A_FILE = 140


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A model to ask, and the settings with which the consumer asks it."""

    name: str
    settings: dict[str, str]


def main() -> int:
    """Run the demo and return its exit code."""
    arguments = _parser().parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    if arguments.model and not os.environ.get("OPENAI_API_KEY") and not os.environ.get("OPENAI_BASE_URL"):
        console.print(f"MODEL={arguments.model} needs OPENAI_API_KEY; without MODEL the demo uses its own model.")
        return 2
    documents = sorted(arguments.documents.glob("*.txt"))[: arguments.limit]
    if not documents:
        console.print(f"no .txt files in {arguments.documents}")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(console, arguments, documents)
    except KeyboardInterrupt:
        console.print(f"interrupted; nothing is left running. What had ended by then: {_RUN_DIR / 'results.jsonl'}")
        return _INTERRUPTED
    except (ChildFailedError, subprocess.CalledProcessError) as failure:
        console.print(f"[red]{failure}", markup=True, highlight=False)
        return 1


def _run(console: Console, arguments: argparse.Namespace, documents: list[Path]) -> int:
    shutil.rmtree(_RUN_DIR, ignore_errors=True)
    _RUN_DIR.mkdir(parents=True)
    results = _RUN_DIR / "results.jsonl"
    with contextlib.ExitStack() as stack:
        console.print("starting the broker (noida-db, Kafka protocol) …")
        broker = stack.enter_context(embedded_broker(data_dir=_RUN_DIR / "broker"))
        provider = stack.enter_context(_provider(console, arguments))
        console.print(f"starting the consumer, which asks {provider.name} …")
        port = free_port()
        consumer = stack.enter_context(_consumer(broker.bootstrap_servers, provider, port, arguments))
        console.print(f"metrics at http://127.0.0.1:{port}/metrics; sending {len(documents)} documents …")
        if provider.name == MODEL_NAME:
            console.print("the local model takes a minute or two for them on two cores")
        _send(broker.bootstrap_servers, documents)
        watch = Watch(
            console=console,
            bootstrap_servers=broker.bootstrap_servers,
            metrics_url=f"http://127.0.0.1:{port}/metrics",
            results=results,
            expected=len(documents),
        )
        asyncio.run(watch.until_done(lambda: _check_alive(consumer)))
        consumer.stop(grace_seconds=40)
    report(console, watch.outcomes, watch.tally, model=provider.name, results=results)
    return 0 if watch.tally.documents == len(documents) else 1


@contextlib.contextmanager
def _provider(console: Console, arguments: argparse.Namespace) -> Iterator[Provider]:
    """The local model, or OpenAI's when one is named."""
    if arguments.model:
        console.print(f"[yellow]asking {arguments.model} at the provider that your environment names: this costs money")
        yield Provider(name=arguments.model, settings={"DOCSLUICE_MODEL": arguments.model})
        return
    if os.environ.get("OPENAI_API_KEY"):
        console.print(
            "[yellow]OPENAI_API_KEY is set; the demo does not use it and spends nothing. "
            "To use it: make demo MODEL=gpt-4o-mini"
        )
    console.print("starting the model (SmolLM2-135M on llama.cpp) …")
    with local_model(log_path=_RUN_DIR / "model.log") as model:
        settings = {
            "OPENAI_API_KEY": "",
            "OPENAI_BASE_URL": model.base_url,
            "DOCSLUICE_MODEL": model.name,
            "DOCSLUICE_PIPELINE": str(_LOCAL_PIPELINE),
            "DOCSLUICE_MAX_CONCURRENCY": str(SLOTS + 1),  # one call waits, so that the model never idles
            "DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "300",
        }
        yield Provider(name=model.name, settings=settings)


@contextlib.contextmanager
def _consumer(bootstrap_servers: str, provider: Provider, port: int, arguments: argparse.Namespace) -> Iterator[Child]:
    settings = {
        **{name: "" for name in os.environ if name.startswith("DOCSLUICE_")},  # an empty setting counts as unset
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "DOCSLUICE_HTTP_HOST": "127.0.0.1",
        "DOCSLUICE_HTTP_PORT": str(port),
        "DOCSLUICE_STATE_DIR": str(_RUN_DIR / "state"),
        "DOCSLUICE_DRAIN_SECONDS": "5",  # after an interrupt nobody wants the answers
        **provider.settings,
        **({"DOCSLUICE_MODE": arguments.mode} if arguments.mode else {}),
    }
    with child_process(
        name="consumer",
        command=[sys.executable, "-m", "docsluice_consumer", "run"],
        log_path=_RUN_DIR / "consumer.log",
        environment=settings,
        is_ready=lambda: _answers(f"http://127.0.0.1:{port}/readyz"),
        timeout_seconds=60,
        grace_seconds=40,
    ) as child:
        yield child


def _send(bootstrap_servers: str, documents: list[Path]) -> None:
    """Send as anybody would, with the producer's own program."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "docsluice_producer",
            "send",
            *map(str, documents),
            "--bootstrap-servers",
            bootstrap_servers,
        ],
        check=True,
    )


def _check_alive(consumer: Child) -> None:
    if not consumer.running:
        raise ChildFailedError(f"the consumer has ended:\n{consumer.log_tail()}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)  # noqa: PLR2004 - HTTP's ok
    except (urllib.error.URLError, OSError):
        return False


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM does what Ctrl-C does, which asyncio knows how to end in order."""
    signal.raise_signal(signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--model", help="a model of the provider that OPENAI_API_KEY or OPENAI_BASE_URL name")
    parser.add_argument("--mode", choices=["fanout", "fused"], help="the pipeline's own mode unless said")
    parser.add_argument("--documents", type=Path, default=_DOCUMENTS, help="a folder of .txt files")
    parser.add_argument("--limit", type=int, help="send only so many")
    return parser


if __name__ == "__main__":
    sys.exit(main())
