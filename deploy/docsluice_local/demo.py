"""The whole of docsluice on this machine: broker, model, consumer and real documents, watched live.

`docsluice demo` runs it. Nothing is sent anywhere and nothing is paid for, unless a model of OpenAI's is named.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from docsluice.cli.output import CommandFailed
from docsluice.cli.page import command
from docsluice.cli.program import main
from docsluice_local.broker import embedded_broker
from docsluice_local.demo_report import report
from docsluice_local.demo_watch import Watch
from docsluice_local.foreground import faults_told, until_terminated
from docsluice_local.model import MODEL_NAME, SLOTS, local_model, weights
from docsluice_local.process import Child, ChildFailedError, child_process, free_port

_HERE = Path(__file__).parent
DOCUMENTS = _HERE / "documents"
LOCAL_PIPELINE = _HERE / "pipelines" / "local.yaml"
HOW_LONG = "one to three minutes on two cores"
"""For the documents that we bring. The pages say the same."""
_RUN_DIR = Path(".docsluice") / "demo"
_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A model to ask, and the settings with which the consumer asks it."""

    name: str
    settings: dict[str, str]


def _demo(
    *,
    model: Annotated[str | None, Parameter(metavar="NAME", show_default="a small one on this machine")] = None,
    mode: Annotated[Literal["fanout", "fused"] | None, Parameter(show_default="as the pipeline says")] = None,
    documents: Annotated[Path, Parameter(metavar="FOLDER", show_default="thirty that come with it")] = DOCUMENTS,
    limit: Annotated[int | None, Parameter(metavar="N", validator=Number(gte=1), show_default="all")] = None,
) -> int:
    """Run broker, model and consumer on real documents on this machine, and watch.

    $ docsluice demo
    $ docsluice demo --limit 5
    $ docsluice demo --model gpt-4o-mini

    Nothing is sent anywhere and nothing is paid for, unless a model is named.

    Args:
        model: a model of the provider that OPENAI_API_KEY or OPENAI_BASE_URL name
        mode: a call for each task, or one for all
        documents: a folder of .txt files
        limit: send only so many
    """
    console = Console()
    if model and not os.environ.get("OPENAI_API_KEY") and not os.environ.get("OPENAI_BASE_URL"):
        raise CommandFailed(f"--model {model} needs OPENAI_API_KEY; without --model the demo uses its own", exit_code=2)
    if mode == "fused" and model is None:
        raise CommandFailed("--mode fused needs --model: the small model is asked one thing at a time", exit_code=2)
    files = sorted(documents.glob("*.txt"))[:limit]
    if not files:
        raise CommandFailed(f"no .txt files in {documents}", exit_code=2)
    try:
        with until_terminated(), faults_told():
            if model is None:
                weights()  # before anything is started
            return _run(console, files, model=model, mode=mode)
    except KeyboardInterrupt:
        console.print(f"interrupted; nothing is left running. What had ended by then: {_RUN_DIR / 'results.jsonl'}")
        return _INTERRUPTED
    except subprocess.CalledProcessError as failure:
        raise CommandFailed(str(failure)) from None


demo = command(_demo, name="demo", exit_codes={0: "done", 1: "a fault", 2: "wrong usage", 130: "Ctrl-C or SIGTERM"})


def _run(console: Console, documents: list[Path], *, model: str | None, mode: str | None) -> int:
    shutil.rmtree(_RUN_DIR, ignore_errors=True)
    _RUN_DIR.mkdir(parents=True)
    results = _RUN_DIR / "results.jsonl"
    with contextlib.ExitStack() as stack:
        console.print("starting the broker (noida-db, Kafka protocol) …")
        broker = stack.enter_context(embedded_broker(data_dir=_RUN_DIR / "broker"))
        provider = stack.enter_context(_provider(console, model))
        console.print(f"starting the consumer, which asks {provider.name} …")
        port = free_port()
        consumer = stack.enter_context(_consumer(broker.bootstrap_servers, provider, port, mode))
        console.print(f"metrics at http://127.0.0.1:{port}/metrics; sending {len(documents)} documents …")
        if provider.name == MODEL_NAME:
            console.print(f"the local model takes {HOW_LONG} for them")
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
def _provider(console: Console, model: str | None) -> Iterator[Provider]:
    """The local model, or OpenAI's when one is named."""
    if model:
        console.print(f"[yellow]asking {model} at the provider that your environment names: this costs money")
        yield Provider(name=model, settings={"DOCSLUICE_MODEL": model})
        return
    if os.environ.get("OPENAI_API_KEY"):
        console.print(
            "[yellow]OPENAI_API_KEY is set; the demo does not use it and spends nothing. "
            "To use it: docsluice demo --model gpt-4o-mini"
        )
    console.print("starting the model (SmolLM2-135M on llama.cpp) …")
    with local_model(log_path=_RUN_DIR / "model.log") as local:
        settings = {
            "OPENAI_API_KEY": "",
            "OPENAI_BASE_URL": local.base_url,
            "DOCSLUICE_MODEL": local.name,
            "DOCSLUICE_PIPELINE": str(LOCAL_PIPELINE),
            "DOCSLUICE_PRICES": "free",
            "DOCSLUICE_MAX_CONCURRENCY": str(SLOTS + 1),  # one call waits, so that the model never idles
            "DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "300",
        }
        yield Provider(name=local.name, settings=settings)


@contextlib.contextmanager
def _consumer(bootstrap_servers: str, provider: Provider, port: int, mode: str | None) -> Iterator[Child]:
    settings = {
        **{name: "" for name in os.environ if name.startswith("DOCSLUICE_")},  # an empty setting counts as unset
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "DOCSLUICE_HTTP_HOST": "127.0.0.1",
        "DOCSLUICE_HTTP_PORT": str(port),
        "DOCSLUICE_STATE_DIR": str(_RUN_DIR / "state"),
        "DOCSLUICE_DRAIN_SECONDS": "5",  # after an interrupt nobody wants the answers
        **provider.settings,
        **({"DOCSLUICE_MODE": mode} if mode else {}),
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


if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
