"""Whatever a server answers about one document, that document ends once or waits, and no other one is touched."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings

from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.model_caller import ModelCaller
from docsluice_consumer.errors import ProviderMisconfigured
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import StaticKey
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.pipeline import Pipeline
from docsluice_consumer.store.memory_store import NoStore
from docsluice_consumer.telemetry.metrics import Metrics
from docsluice_local.rehearsal.characters.character import Character
from docsluice_local.rehearsal.characters.loading import all_characters
from tests.examples import examples
from tests.fakes.odd_answers import ANSWERS, KEY, ODD_TEXT, answer_of_json, documented
from tests.fakes.pipelines import DEAD_LETTERS, RESULTS, pipeline_of
from tests.fakes.prices import FakePrices
from tests.fakes.raw_server import RawAnswer, RawServer
from tests.fakes.samples import TASKS, document, steps
from tests.fakes.sink import FakeSink
from tests.fakes.timer import FakeSleep, ManualTimer, settled

ODD, OTHERS = "odd", tuple(f"d{number}" for number in range(3))
REASON, STEP = "__docsluice.errors.reason", "__docsluice.errors.step"
MODELANSWERS = {"summary": ["One.", "Two."], "category": "tech"}
PASSING = (429, 500, 502, 503, 504, 529)
ENOUGH_CALLS, ENOUGH_PASSING_CALLS = 16, 6
"""After so many, and with all others ended, a document that has not ended waits. One try may be several calls."""
CHARACTERS = all_characters()


def _completion(**message: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


class _Counting:
    """The real client. Knows how many calls are in flight, and when one ends."""

    def __init__(self, client: OpenAIChatClient) -> None:
        self._client = client
        self.in_flight = 0
        self._ended = asyncio.Event()

    async def ask(self, request: ChatRequest) -> Answer:
        self.in_flight += 1
        try:
            return await self._client.ask(request)
        finally:
            self.in_flight -= 1
            self._ended.set()

    async def one_ends(self) -> None:
        self._ended.clear()
        await self._ended.wait()

    async def close(self) -> None:
        await self._client.close()


class Trial:
    """A service's path of a record against a real server, in time that a test moves. `odd` is what one document gets.

    The server answers all others properly, and that one too once `odd` is None.
    """

    def __init__(self, odd: RawAnswer | None, *, tasks: int = 1) -> None:
        self.odd = odd
        self.tasks = tasks
        self.odd_calls = 0
        self.asked_well: set[str] = set()
        """The odd document's steps that were asked once the server was well. Each is answered then."""
        self.server = RawServer(answer=self._answer)
        self.timer = ManualTimer()
        self.sink = FakeSink()
        self.work: dict[str, asyncio.Task[None]] = {}
        self._client: _Counting
        self._pipeline: Pipeline

    @contextlib.asynccontextmanager
    async def on(self) -> AsyncIterator[Trial]:
        """Serve, and end all that is left at the end."""
        async with self.server.running():
            provider = Provider(base_url=self.server.base_url, credentials=StaticKey(KEY), request_timeout_seconds=20.0)
            self._client = _Counting(OpenAIChatClient(provider=provider, max_connections=10))
            self._pipeline = self._built()
            try:
                yield self
            finally:
                for task in self.work.values():
                    task.cancel()
                await asyncio.gather(*self.work.values(), return_exceptions=True)
                await self._client.close()

    def _built(self) -> Pipeline:
        metrics = Metrics()
        admission = Admission(limits=Limits(max_concurrency=4), timer=self.timer)
        model_caller = ModelCaller(
            client=self._client,
            admission=admission,
            prices=FakePrices(),
            metrics=metrics,
            max_attempts=3,
            sleep=FakeSleep(on_sleep=self.timer.advance),
        )
        analyzer = Analyzer(
            steps=steps(*TASKS[: self.tasks]),
            answers=model_caller,
            answer_recovery=AnswerRecovery(answers=model_caller, metrics=metrics),
            answer_cache=AnswerCache(store=NoStore(), metrics=metrics),
        )
        return pipeline_of(analyzer=analyzer, sink=self.sink, metrics=metrics, mode="fanout")

    def _answer(self, body: dict[str, Any]) -> RawAnswer:
        turns = json.dumps(body)
        task = "category" if "Classify." in turns else "summary"
        if ODD_TEXT in turns:
            self.odd_calls += 1
            if self.odd is not None:
                return self.odd
            self.asked_well.add(task)
        return answer_of_json(200, _completion(content=json.dumps({task: MODELANSWERS[task]})))

    def begin(self, name: str) -> None:
        """Take a document to its end, beside the others."""
        text = ODD_TEXT if name == ODD else f"A text about {name}."
        self.work[name] = asyncio.create_task(self._pipeline.process(document(text, document_id=name)))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass whenever everybody waits for it."""
        idle_turns = 0
        while not condition():
            assert idle_turns < 5_000, "nothing happens any more"
            await settled()
            if self._client.in_flight:
                await self._client.one_ends()
                continue
            if condition():
                return
            idle_turns += 1
            if (alarm := self.timer.next_alarm()) is not None:
                self.timer.advance_to(alarm)

    def has_ended(self, *names: str) -> bool:
        return all(self.work[name].done() for name in names)

    def odd_ends_or_waits(self) -> bool:
        passes = self.odd is not None and self.odd.status in PASSING
        enough = self.tasks * (ENOUGH_PASSING_CALLS if passes else ENOUGH_CALLS)
        return self.has_ended(ODD) or self.odd_calls >= enough

    def outcomes(self, name: str) -> list[str]:
        """The topics of its outcomes. A bug of ours on the way is none that is right."""
        mine = [outgoing for outgoing in self.sink.published if outgoing.key == name.encode()]
        assert not any((REASON, b"unexpected") in outgoing.headers for outgoing in mine)
        return [outgoing.topic for outgoing in mine]

    def failed_steps(self, name: str) -> set[str]:
        """The step that made it a dead letter, if it is one."""
        mine = [outgoing for outgoing in self.sink.published if outgoing.key == name.encode()]
        return {(value or b"").decode() for outgoing in mine for header, value in outgoing.headers if header == STEP}


async def _beside_others(odd: RawAnswer, *, tasks: int = 1) -> Trial:
    """One document is answered, and then the odd one comes with others. No fault may come out of it."""
    async with Trial(odd, tasks=tasks).on() as trial:
        trial.begin(OTHERS[0])
        await trial.until(lambda: trial.has_ended(OTHERS[0]))
        await _together(trial, OTHERS[1:])
        return trial


async def _at_the_head(odd: RawAnswer, *, tasks: int = 1) -> Trial:
    """The odd document is the first and alone. The others come once it has ended or waits. It may stop the service."""
    async with Trial(odd, tasks=tasks).on() as trial:
        trial.begin(ODD)
        await trial.until(trial.odd_ends_or_waits)
        if trial.has_ended(ODD) and isinstance(trial.work[ODD].exception(), ProviderMisconfigured):
            assert not trial.sink.published
            with pytest.raises(ProviderMisconfigured) as caught:
                await trial.work.pop(ODD)
            assert KEY not in str(caught.value)
            return trial
        await _together(trial, OTHERS)
        return trial


async def _together(trial: Trial, others: tuple[str, ...]) -> None:
    for name in (ODD, *others):
        if name not in trial.work:
            trial.begin(name)
    await trial.until(lambda: trial.has_ended(*others) and trial.odd_ends_or_waits())
    must_end = trial.odd is not None and _is_an_unreadable_answer(trial.odd)
    assert trial.has_ended(ODD) or not must_end, "an answer that may be paid for is asked for again and again"
    if not trial.has_ended(ODD):
        assert trial.outcomes(ODD) == []
        trial.odd = None
        await trial.until(lambda: trial.has_ended(ODD))
        # Its last odd answer may still have been on its way. Only that one ends it as a dead letter.
        assert trial.failed_steps(ODD) & trial.asked_well == set(), "it waited for the server, which is well again"
    for task in trial.work.values():
        assert task.exception() is None
    assert trial.outcomes(ODD) in ([RESULTS], [DEAD_LETTERS])
    assert [trial.outcomes(name) for name in OTHERS] == [[RESULTS]] * len(OTHERS)


def _is_an_unreadable_answer(answer: RawAnswer) -> bool:
    try:
        json.loads(answer.body)
    except (ValueError, RecursionError):
        return answer.status in range(200, 300)
    return False


def _holds(runner: asyncio.Runner, odd: RawAnswer, *, tasks: int = 1) -> None:
    """Both ways of coming, and nothing secret told in either."""
    for way in (_beside_others, _at_the_head):
        with structlog.testing.capture_logs() as logged:
            trial = runner.run(way(odd, tasks=tasks))
        told = [(outgoing.topic, outgoing.value, outgoing.headers) for outgoing in trial.sink.published]
        assert KEY not in f"{told}"
        assert KEY not in f"{logged}"
        assert "Quillon Farrow" not in f"{logged}"


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(odd=ANSWERS)
def test_any_answer(runner: asyncio.Runner, odd: RawAnswer) -> None:
    """Any status, headers and bytes, for two tasks that ask at once."""
    _holds(runner, odd, tasks=2)


@pytest.mark.parametrize("character", CHARACTERS, ids=lambda character: character.name)
def test_documented_answers(runner: asyncio.Runner, character: Character) -> None:
    """Every body that a provider is known to send."""
    for odd in documented(character):
        _holds(runner, odd)


ECHOES = {
    "in the answer": answer_of_json(200, _completion(content=json.dumps({"summary": ["One.", KEY]}))),
    "in an answer that is none": answer_of_json(200, _completion(content=f"You are {KEY}.")),
    "in a refusal": answer_of_json(200, _completion(content=None, refusal=f"Not for {KEY}.")),
    "in the arguments of a tool": answer_of_json(
        200, _completion(content=None, tool_calls=[{"function": {"arguments": {"summary": ["One.", KEY]}}}])
    ),
    "in an error": answer_of_json(
        400, {"error": {"message": f"Odd key {KEY}", "code": KEY, "type": KEY, "param": KEY}}
    ),
    "in an error inside a 200": answer_of_json(200, {"error": {"message": f"Bearer {KEY}", "code": 502}}),
    "in a web page": RawAnswer(status=502, body=f"<title>{KEY}</title>".encode()),
    "in an answer of another kind": answer_of_json(200, {KEY: KEY, "usage": {KEY: 1}}),
    "in headers": RawAnswer(
        status=500, body=b"", headers={"x-request-id": KEY, "retry-after": KEY, "content-type": KEY}
    ),
}


@pytest.mark.parametrize("odd", ECHOES.values(), ids=ECHOES.keys())
def test_an_echo_of_the_key(runner: asyncio.Runner, odd: RawAnswer) -> None:
    """A gateway may say it back anywhere. It is told to nobody."""
    _holds(runner, odd)


MEBIBYTE = 2**20
DEAR: dict[str, Callable[[], RawAnswer]] = {
    "lists beyond the bound": lambda: RawAnswer(status=200, body=b"[" + b"[]," * MEBIBYTE + b"[]]"),
    "as many lists as may be": lambda: RawAnswer(status=200, body=b"[" + b"[]," * (MEBIBYTE // 2) + b"[]]"),
    "lists beside an answer": lambda: answer_of_json(
        200, _completion(content='{"summary": ["A.", "B."]}') | {"x": [[]] * 50_000}
    ),
    "lists in one another": lambda: RawAnswer(status=200, body=b"[" * MEBIBYTE),
    "a bomb": lambda: RawAnswer(
        status=200, body=gzip.compress(bytes(64 * MEBIBYTE), mtime=0), headers={"content-encoding": "gzip"}
    ),
    "a bomb as an error": lambda: RawAnswer(
        status=400, body=gzip.compress(b"no " * 20 * MEBIBYTE, mtime=0), headers={"content-encoding": "gzip"}
    ),
    "tags without an end": lambda: RawAnswer(status=502, body=b"<title>" * 50_000),
    "a charset that takes hours": lambda: RawAnswer(
        status=400, body=b"a" * 200_000 + b"-9a", headers={"content-type": "text/plain; charset=punycode"}
    ),
    "a hundred cookies": lambda: RawAnswer(
        status=400, body=b"{}", headers={"set-cookie": "; ".join(f"c{n}={'v' * 500}" for n in range(100))}
    ),
    "an answer of many brackets": lambda: answer_of_json(200, _completion(content='{"' * 30_000)),
    "a refusal in a megabyte": lambda: answer_of_json(200, _completion(content=None, refusal="no " * 300_000)),
}
"""Made when asked for: bombs take time, and each process that runs tests reads this file."""


@pytest.mark.parametrize("odd", DEAR.values(), ids=DEAR.keys())
def test_an_answer_that_is_made_to_be_dear(runner: asyncio.Runner, odd: Callable[[], RawAnswer]) -> None:
    """It costs its call, and the documents beside it have their results."""
    _holds(runner, odd())


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_answer_without_an_end(runner: asyncio.Runner, status: int) -> None:
    """It is cut off, so that memory stays bounded. A success may have been paid for, and an error keeps its status."""
    odd = RawAnswer(status=status, body=b"{", endless=True)
    trial = runner.run(_beside_others(odd))
    assert trial.server.sent_bytes < trial.odd_calls * 2**24
    assert trial.outcomes(ODD) == ([RESULTS] if status in PASSING else [DEAD_LETTERS])
