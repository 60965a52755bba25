"""Whatever a server says of a secret, and however: it is in no log line, no error, no header and no label."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from docsluice.messages import DeadLetterReason
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.bootstrap import known_secrets_of
from docsluice_consumer.dead_letters.record import Failure, dead_letter
from docsluice_consumer.errors import ConfigurationError, DocsluiceError, RecordRejected
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import StaticKey
from docsluice_consumer.llm.error_body import read_error
from docsluice_consumer.llm.error_mapping import Call, fault_of
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.settings import load_settings
from docsluice_consumer.telemetry.logs import configure_logs
from docsluice_consumer.telemetry.metrics import Metrics
from tests.examples import examples
from tests.fakes.leaks import SECRETS, SPELLINGS, tells
from tests.fakes.process_logs import logs_as_before
from tests.fakes.raw_server import RawAnswer, RawServer
from tests.fakes.samples import chat_request, document

_BOUNDS = (0, 40, 80, 200, 400, 1024, 1200, 2048, 8000, 16_000, 262_144)
"""At which something of ours shortens a text."""
_LETTER_BOUNDS = _BOUNDS[1:9]
"""Those of a dead letter. The longer ones are an error's body and a page."""
SPELLED = st.sampled_from(list(SPELLINGS))


@st.composite
def _bodies(draw: Any, secret: str, bounds: Sequence[int] = _BOUNDS) -> tuple[bytes, str]:
    """The body of an error that tells a secret somewhere, at times in two at the place where a text is shortened."""
    spelled = SPELLINGS[draw(SPELLED)](secret)
    before = draw(st.sampled_from(bounds)) - draw(st.integers(0, len(spelled) + 20))
    said = "- " * max(0, before // 2) + f"denied {spelled} to you" + " -" * draw(st.sampled_from([0, 0, 300, 10_000]))
    fields = {draw(st.sampled_from(["message", "code", "type", "param", "detail", "status"])): said, "message": said}
    match draw(st.integers(0, 5)):
        case 0:
            return said.encode(), "text/plain"
        case 1:
            return f"<html><head><title>{said}</title></head><body>{said}</body></html>".encode(), "text/html"
        case 2:
            return json.dumps({"error": {**fields, "code": spelled}}).encode(), "application/json"
        case 3:
            return json.dumps({"detail": json.dumps({"error": fields})}).encode(), "application/json"
        case 4:
            return json.dumps({spelled: said}).encode(), f"text/{spelled}".encode("ascii", "ignore").decode()
        case _:
            return json.dumps({"error": fields, "more": "x" * 300_000}).encode(), "application/json"


@given(data=st.data(), secret=SECRETS, status=st.sampled_from([400, 401, 403, 404, 413, 429, 500, 503]))
@settings(max_examples=examples(120), suppress_health_check=list(HealthCheck))
def test_no_error_tells_a_secret(data: st.DataObject, secret: str, status: int) -> None:
    """Neither what is read of it nor what becomes of it, up to the dead letter."""
    body, _ = data.draw(_bodies(secret))
    assume(not tells("denied  to you - -", secret))
    said = read_error(status, body, secrets=(secret,))
    call = Call(step="summary", model=model_ref("m"), secrets=(secret,))
    fault = fault_of(said, call, headers={}, now=datetime.now(UTC))
    texts = [str(said), said.words, said.own_words, said.loggable, said.param, said.label, *said.codes, *said.delays]
    texts += [str(fault), getattr(fault, "cause", ""), getattr(fault, "remedy", "")]
    assert [text for text in texts if tells(text, secret)] == []


def _reject(said: str) -> NoReturn:
    raise RecordRejected(DeadLetterReason.INVALID_ANSWER, said, step="summary", answer=said) from ValueError(said)


def _failure(error: RecordRejected) -> Failure:
    now = datetime.now(UTC)
    return Failure(
        error=error,
        attempts=1,
        cost_usd=Decimal(0),
        first_failed_at=now,
        failed_at=now,
        group_id="g",
        pipeline_version="v",
    )


@given(data=st.data(), secret=SECRETS)
@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
def test_no_dead_letter_tells_a_secret(data: st.DataObject, secret: str) -> None:
    """Whatever has raised it, and wherever its message, its answer or its trace is shortened."""
    body, _ = data.draw(_bodies(secret, bounds=_BOUNDS[:8]))
    said = body.decode()
    known = KnownSecrets()
    known.learn(secret)
    try:
        _reject(said)
    except RecordRejected as error:
        letter = dead_letter(document(), _failure(error), topic="dlq", cut=known.cut)
    headers = [(value or b"").decode() for _, value in letter.headers]
    assert [header for header in headers if tells(header, secret)] == []


_BROKEN = ["sk-" + "a1B2c3D4e5" * 4, "!$%^*()_+~|{}[]:;<>?,./" * 2, "k" * 9 + "9" * 9]


def _ending_in(secret: str, *, bound: int) -> Iterator[str]:
    """Texts in which a bound leaves more and more of the secret's beginning."""
    return (("- " * bound)[: bound - left] + secret for left in range(6, len(secret), 5))


@pytest.mark.long
@pytest.mark.parametrize("secret", _BROKEN)
@pytest.mark.parametrize("bound", _BOUNDS[1:])
def test_no_text_breaks_off_in_the_middle_of_a_secret(bound: int, secret: str) -> None:
    """What is left of it there could not be told from other words any more. It is cut first, and then shortened."""
    known = KnownSecrets()
    known.learn(secret)
    for said in _ending_in(secret, bound=bound):
        error = read_error(400, said.encode(), secrets=(secret,))
        in_json = read_error(400, json.dumps({"error": {"message": said, "code": said}}).encode(), secrets=(secret,))
        texts = [error.words, error.loggable, in_json.words, *in_json.codes, known.cut(said, most=bound)]
        assert [text[-100:] for text in texts if tells(text, secret)] == []


@pytest.mark.long
@pytest.mark.parametrize("secret", _BROKEN)
@pytest.mark.parametrize("bound", _LETTER_BOUNDS)
def test_no_dead_letter_breaks_off_in_the_middle_of_a_secret(bound: int, secret: str) -> None:
    """Neither in what it says of the fault nor in the answer."""
    known = KnownSecrets()
    known.learn(secret)
    for said in _ending_in(secret, bound=bound):
        rejected = RecordRejected(DeadLetterReason.INVALID_ANSWER, said, answer=said)
        letter = dead_letter(document(), _failure(rejected), topic="dlq", cut=known.cut)
        texts = [(value or b"").decode() for _, value in letter.headers]
        assert [text[-100:] for text in texts if tells(text, secret)] == []


@pytest.mark.parametrize("left", range(6, 40, 5))
def test_no_page_breaks_off_in_the_middle_of_a_secret(left: int) -> None:
    """Its tags are left out of what is told, so that its end may stand at the beginning."""
    secret = "sk-" + "!a1B$c3D%e5" * 4
    page = f"<{'x' * (262_144 - left - 2)}>{secret} denied"
    error = read_error(400, page.encode(), secrets=(secret,))
    assert not tells(error.words, secret)


@pytest.mark.parametrize("left", range(6, 40, 3))
@pytest.mark.parametrize("kind", ["text", "title", "fields", "content type"])
async def test_nothing_that_is_no_completion_breaks_off_in_one(kind: str, left: int) -> None:
    """Of a body that cannot be read, its beginning is told."""
    secret = "sk-" + "!a1B$c3D%e5" * 4
    said = "x" * (200 - left) + secret
    body, content_type = {
        "text": (said, "text/plain"),
        "title": (f"<title>{said}</title>", "text/html"),
        "fields": (json.dumps({said: 1}), "application/json"),
        "content type": ("x", said),
    }[kind]
    known = KnownSecrets()
    known.learn(secret)
    server = RawServer(
        answer=lambda _: RawAnswer(status=200, body=body.encode(), headers={"content-type": content_type})
    )
    async with asyncio.timeout(60), server.running():
        client = OpenAIChatClient(
            provider=Provider(base_url=server.base_url, secrets=known, credentials=StaticKey(secret)), max_connections=1
        )
        with pytest.raises(DocsluiceError) as caught:
            await client.ask(chat_request())
        await client.close()
    assert not tells(str(caught.value), secret)
    assert "xxx" in str(caught.value)


class _Odd:
    """An object that says in its own words what it holds."""

    def __init__(self, held: str) -> None:
        self._held = held

    def __repr__(self) -> str:
        return f"Odd({self._held})"


@contextlib.contextmanager
def _logging_of_its_own() -> Iterator[io.StringIO]:
    """What is logged in the block. Afterwards all is as before, for logging is the process's."""
    stderr = sys.stderr
    sys.stderr = said = io.StringIO()
    try:
        with logs_as_before():
            yield said
    finally:
        sys.stderr = stderr


@given(secret=SECRETS, spelling=SPELLED, log_format=st.sampled_from(["json", "console"]))
@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
def test_no_log_line_tells_a_secret(secret: str, spelling: str, log_format: Any) -> None:
    """Neither ours nor a library's: not in a field, in what is in it, in an object's own words, or in a trace."""
    known, spelled = KnownSecrets(), SPELLINGS[spelling](secret)
    known.learn(secret)
    with _logging_of_its_own() as said:
        configure_logs(log_format=log_format, cut=known.cut_all)
        log = structlog.get_logger("docsluice_consumer.sample")
        log.warning("sample.event", error=spelled, inside={"a": [spelled, (spelled,)], spelled: 1}, odd=_Odd(spelled))
        logging.getLogger("library").warning("trouble with %s", spelled)
        try:
            _reject(spelled)
        except RecordRejected:
            log.critical("sample.bug", exc_info=True)
            logging.getLogger("library").exception("trouble")
    lines = said.getvalue()
    assert all(words in lines for words in ("sample.event", "sample.bug", "trouble", "RecordRejected"))
    assert not tells(lines, secret)


@given(secret=SECRETS, spelling=SPELLED)
@settings(max_examples=examples(100))
def test_no_label_tells_a_secret(secret: str, spelling: str) -> None:
    """A key was given as a model's name."""
    known = KnownSecrets()
    metrics = Metrics(cut=known.cut_label)
    model = model_ref(f"x{SPELLINGS[spelling](secret)}")
    metrics.call_finished(task="summary", model=model, outcome="ok")
    metrics.exposition()
    known.learn(secret)
    exposition = metrics.exposition().decode()
    assert not tells(exposition.replace("\\\\", "\\").replace('\\"', '"'), secret)


@given(data=st.data(), secret=SECRETS.filter(lambda secret: secret.isascii() and len(secret) < 500))
@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
async def test_no_call_tells_a_secret_of_any_provider(data: st.DataObject, secret: str) -> None:
    """Over the wire, with any status: a gateway may know the key of another provider, or the broker's password."""
    body, kind = data.draw(_bodies(secret))
    status = data.draw(st.sampled_from([200, 400, 401, 403, 404, 429, 500]))
    known = KnownSecrets()
    known.learn(secret)
    server = RawServer(answer=lambda _: RawAnswer(status=status, body=body, headers={"content-type": kind}))
    async with asyncio.timeout(60), server.running():
        provider = Provider(base_url=server.base_url, credentials=StaticKey("another-key-0123456789"), secrets=known)
        client = OpenAIChatClient(provider=provider, max_connections=1)
        with pytest.raises(DocsluiceError) as caught:
            await client.ask(chat_request())
        await client.close()
    texts = [str(caught.value), repr(caught.value), str(list(vars(caught.value).values()))]
    assert [text for text in texts if tells(text, secret)] == []


def test_what_was_sent_is_known_from_then_on() -> None:
    """A key that a file or a command gives, too, for all exits."""
    known = KnownSecrets()
    provider = Provider(base_url="http://unused", secrets=known)
    client = OpenAIChatClient(provider=provider, max_connections=1)
    for number in range(100):
        client._key_headers(f"rotated-key-{number:08d}")
    assert "rotated-key-00000099" in known.known()
    assert len(known.known()) == 64, "the oldest are refused anyhow"
    asyncio.run(client.close())


def test_all_secrets_of_the_settings_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords in addresses and of proxies, as they stand there and as they are meant."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdefgh")
    monkeypatch.setenv("DOCSLUICE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("DOCSLUICE_KAFKA_SASL_USERNAME", "somebody")
    monkeypatch.setenv("DOCSLUICE_KAFKA_SASL_PASSWORD", "kafka-password")
    monkeypatch.setenv("DOCSLUICE_STORE_URL", "redis://u:store%2Fpassword@h:1/0")
    monkeypatch.setenv("DOCSLUICE_SHARED_LIMITS_URL", "redis://:limits-password@h:1/0")
    monkeypatch.setenv("HTTPS_PROXY", "http://u:proxy-password@h:1")
    known = known_secrets_of(load_settings())
    assert set(known.known()) >= {
        "sk-0123456789abcdefgh",
        "kafka-password",
        "store%2Fpassword",
        "store/password",
        "limits-password",
        "proxy-password",
    }


def test_a_setting_that_everybody_sees_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stand in every metric and result. The line names both, and quotes neither."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdefgh")
    with pytest.raises(ConfigurationError) as caught:
        known_secrets_of(load_settings({"model": "gpt-sk-0123456789abcdefgh"}))
    assert str(caught.value).startswith("DOCSLUICE_MODEL: holds the secret of OPENAI_API_KEY")
    assert "sk-0123" not in str(caught.value)


def test_a_word_that_everybody_sees_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that is the name of the group would be cut out of every line, and hide nothing."""
    monkeypatch.setenv("DOCSLUICE_SHARED_LIMITS_URL", "redis://:docsluice@h:1/0")
    known = known_secrets_of(load_settings({"openai_base_url": "http://unused"}))
    assert known.cut("docsluice.events of group docsluice") == "docsluice.events of group docsluice"


def test_a_key_among_the_words_of_its_command_is_a_secret() -> None:
    """Nobody sees the command."""
    key = "sk-0123456789abcdefgh"
    known = known_secrets_of(load_settings({"openai_api_key_command": f"echo {key}"}))
    known.learn(key)
    assert key not in known.cut(f"denied {key}")


def test_what_is_too_short_may_be_any_word() -> None:
    """A server of one's own is given a word for a key, which must not vanish from its own name."""
    known = KnownSecrets()
    known.learn("ollama")
    assert known.cut("provider ollama/llama3") == "provider ollama/llama3"


async def test_an_answer_keeps_the_words_that_happen_to_be_a_password() -> None:
    """Only the key that the provider was sent can have come from it. A result is not changed for anything else."""
    known = KnownSecrets()
    known.learn("administrator")
    said = json.dumps({"choices": [{"message": {"content": "The administrator said own-key-0123456789."}}]})
    server = RawServer(answer=lambda _: RawAnswer(status=200, body=said.encode()))
    async with asyncio.timeout(60), server.running():
        provider = Provider(base_url=server.base_url, credentials=StaticKey("own-key-0123456789"), secrets=known)
        client = OpenAIChatClient(provider=provider, max_connections=1)
        answer = await client.ask(chat_request())
        await client.close()
    assert answer.text == "The administrator said [secret]."


def test_text_without_a_secret_stays_as_it_was() -> None:
    """To the letter, escapes and all."""
    known = KnownSecrets()
    known.learn("sk-0123456789abcdefgh")
    text = 'Tom &amp; Jerry: 100%25 \\"quoted\\" \\n \u2028 \x00 ' * 100
    assert known.cut(text) == text
    assert known.cut(text, most=50) == text[:50]
