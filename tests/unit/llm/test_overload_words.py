"""Overloads, time-outs and broken connections, told from one another."""

from __future__ import annotations

import json
import socket
from typing import Any

import aiohttp
import httpx2
import openai
import pytest

from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    DocsluiceError,
    ProviderUnavailable,
)
from docsluice_consumer.llm import error_mapping
from docsluice_consumer.llm.error_mapping import Call
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.model_ref import model_ref
from tests.fakes.sdk_errors import NOW, REQUEST, said_by, status_error, translation_of


@pytest.mark.parametrize(("status", "is_overload"), [(429, True), (503, True), (529, True), (500, False), (502, False)])
def test_a_server_with_too_much_to_do_is_told_from_one_that_fails(status: int, is_overload: bool) -> None:  # noqa: FBT001
    """Fewer calls at once would help the first, and not the second."""
    fault = translation_of(status_error(status, said_by()))
    assert isinstance(fault, AttemptFailed)
    assert fault.is_overload is is_overload


@pytest.mark.parametrize(
    ("status", "message", "fields"),
    [
        (500, "unexpected server status: llm busy - no slots available", {}),  # Ollama
        (500, "Overloaded", {"type": "api_error"}),  # Anthropic
        (500, "The server is currently overloaded with other requests. Sorry about that!", {"type": "server_error"}),
        (500, "System is too busy now. Please try again later.", {"code": 50508}),  # SiliconFlow
        (502, "当前分组上游负载已饱和", {}),  # One API
        (400, "Our servers are currently overloaded.", {"type": "invalid_request_error"}),  # OpenAI, by a gateway
        (400, "Selected model is at capacity. Please try a different model.", {}),
        (400, "Try another one.", {"code": "server_overloaded"}),
    ],
)
def test_an_overload_is_told_by_its_words(status: int, message: str, fields: dict[str, Any]) -> None:
    """Where the status does not say so. It passes, so it is no word on the document."""
    fault = translation_of(status_error(status, said_by(message, **fields)))
    assert isinstance(fault, ProviderUnavailable)
    assert fault.is_overload


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "Internal server error"), (500, "CUDA error: device-side assert triggered"), (502, "Bad Gateway")],
)
def test_other_words_tell_of_no_overload(status: int, message: str) -> None:
    """Fewer calls at once would not help."""
    fault = translation_of(status_error(status, said_by(message)))
    assert isinstance(fault, ProviderUnavailable)
    assert not fault.is_overload


def test_a_document_about_an_overload_is_none() -> None:
    """A server that quotes it says nothing of itself."""
    text = "The engine is currently overloaded, and the mechanics have no slots available."
    quoting = status_error(422, said_by(f"Input should be valid: {text}"))
    fault = error_mapping.translate(quoting, Call(step="s", model=model_ref("m"), quoted=Quoted([text])), now=NOW)
    assert isinstance(fault, CallRefused)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (TimeoutError(), CallTimedOut),
        (openai.APITimeoutError(REQUEST), CallTimedOut),
        (aiohttp.ServerTimeoutError(), CallTimedOut),
        (openai.APIConnectionError(request=REQUEST), ProviderUnavailable),
        (httpx2.ReadError("broken"), ProviderUnavailable),
        (httpx2.RemoteProtocolError("broken"), ProviderUnavailable),
        (aiohttp.ClientPayloadError("broken"), ProviderUnavailable),
        (aiohttp.ServerDisconnectedError(), ProviderUnavailable),
        (json.JSONDecodeError("not JSON", "{", 1), AnswerUnreadable),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), AnswerUnreadable),
        (httpx2.DecodingError("no gzip"), AnswerUnreadable),
    ],
)
def test_what_is_no_status(error: Exception, meaning: type[DocsluiceError]) -> None:
    """Time-outs and connections, also those that slip through the SDK."""
    assert isinstance(error, error_mapping.FOREIGN)
    assert type(translation_of(error)) is meaning


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "its name is not known"),
        (aiohttp.ServerDisconnectedError(), "it closed the connection"),
        (None, "ConnectTimeout"),
    ],
)
def test_a_connection_that_broke_is_no_timeout(cause: Exception | None, words: str) -> None:
    """The aiohttp transport reports a refused connection as a connect time-out. Waiting longer would not help it.

    What it was is told, in the log too.
    """
    error = openai.APITimeoutError(REQUEST)
    error.__cause__ = httpx2.ConnectTimeout("refused")
    error.__cause__.__cause__ = cause
    fault = translation_of(error)
    assert isinstance(fault, ProviderUnavailable)
    assert fault.blames_document
    assert fault.cause == str(fault) == f"no connection to the provider: {words}"


def test_a_call_that_found_no_connection_blames_no_document() -> None:
    """The provider has not seen it. Whether others find one is not known, so this call alone backs off."""
    key: Any = None
    cause = aiohttp.ClientConnectorError(key, OSError(24, "x"))
    cause.__cause__ = OSError(24, "x")
    error = openai.APITimeoutError(REQUEST)
    error.__cause__ = httpx2.ConnectTimeout("x")
    error.__cause__.__cause__ = cause
    fault = translation_of(error)
    assert isinstance(fault, ProviderUnavailable)
    assert (fault.blames_document, fault.pauses_others) == (False, False)
    assert str(fault) == "no connection to the provider: too many open files; raise the limit (ulimit -n)"
