"""What is told of a failed call, and that no key is in it."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

from docsluice_consumer.errors import CallRefused
from docsluice_consumer.llm import error_mapping
from docsluice_consumer.llm.error_mapping import Call
from docsluice_consumer.model_ref import model_ref
from tests.fakes.samples import SECRET_TEXT
from tests.fakes.sdk_errors import KEY, NOW, REQUEST, said_by, status_error, translation_of


def _refusal(status: int, body: Any = None, **more: Any) -> CallRefused:
    fault = translation_of(status_error(status, body, **more))
    assert isinstance(fault, CallRefused)
    return fault


def test_an_unknown_model_is_named() -> None:
    """The line says which model, and which settings to look at."""
    fault = _refusal(404, said_by("The model does not exist.", code="model_not_found"))
    assert (fault.kind, fault.is_certain) == ("model", True)
    assert fault.remedy == "the provider knows no model gpt-4o-mini (DOCSLUICE_MODEL): 404 model_not_found"


def test_a_bad_key_is_told_without_the_key() -> None:
    """The remedy says which setting, and not what is in it, nor anything else that the provider says."""
    fault = _refusal(401, said_by(f"Incorrect API key provided: {KEY}.", code="invalid_api_key"))
    assert fault.remedy == "the provider does not accept the API key (OPENAI_API_KEY): 401 invalid_api_key"
    assert str(fault) == "401 invalid_api_key: Incorrect API key provided: [secret]."


def test_a_remedy_names_the_settings_of_its_provider() -> None:
    """Several providers have keys and addresses of their own."""
    call = Call(step="s", model=model_ref("m"), key_setting="VLLM_KEY", address_setting="providers.own.base_url")
    fault = error_mapping.translate(status_error(401), call, now=NOW)
    assert isinstance(fault, CallRefused)
    assert fault.remedy == "the provider does not accept the API key (VLLM_KEY): 401"
    other = error_mapping.translate(status_error(302), call, now=NOW)
    assert isinstance(other, CallRefused)
    assert "providers.own.base_url" in other.remedy


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("place", ["message", "code", "text", "detail"])
def test_the_key_is_in_no_message(status: int, place: str) -> None:
    """Wherever the provider puts it, whatever the fault."""
    echoed = f"{SECRET_TEXT[:5]} {KEY}\n{KEY}"
    error = {
        "message": lambda: status_error(status, said_by(echoed)),
        "code": lambda: status_error(status, said_by(code=echoed)),
        "text": lambda: status_error(status, text=f"<html>{echoed}</html>"),
        "detail": lambda: status_error(status, {"detail": [echoed]}),
    }[place]()
    assert KEY not in str(translation_of(error))


def test_connection_errors_do_not_tell_the_key_either() -> None:
    """Their causes may quote a header."""
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = httpx2.ConnectError(f"bad header: Bearer {KEY}")
    assert KEY not in str(translation_of(error))
    assert KEY not in str(translation_of(openai.OpenAIError(f"bad {KEY}")))


def test_a_long_message_is_cut() -> None:
    """Some providers echo the whole prompt: a line is enough, and it is one line."""
    said = str(translation_of(status_error(500, said_by("Failed on:\n\n  " + "many words " * 1000))))
    assert len(said) < 450
    assert said.startswith("500: Failed on: many words many")
    assert said.endswith("…")
    assert "\n" not in said


def test_an_html_page_is_cut_too() -> None:
    """A gateway's error page comes as text: its title says it, or what is left without its tags."""
    said = str(translation_of(status_error(502, text="<html>\n<h1>Bad gateway</h1>" + "<p>x</p>" * 1000)))
    assert said.startswith("502: Bad gateway x x")
    assert len(said) < 450
    titled = status_error(502, text="<html><title> 502\nBad </title><p>Much more.</p>")
    assert str(translation_of(titled)) == "502: 502 Bad"


def test_a_path_without_a_list_of_models_is_told_as_such() -> None:
    """`check` asks for no model, so none can be unknown."""
    fault = translation_of(status_error(404, said_by()), model="")
    assert isinstance(fault, CallRefused)
    assert fault.remedy == "there is no list of models at this path (OPENAI_BASE_URL, mostly with /v1): 404"
