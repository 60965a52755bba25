"""Every query of the dashboard and of the alerts, asked of a real Prometheus that scraped a real run."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from docsluice_local.broker import embedded_broker
from docsluice_local.process import child_process, free_port
from docsluice_local.rehearsal.provider import rehearsal_process
from tests import required

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "docsluice.json").read_text())

SCRAPE_SECONDS = 1
TOPICS = INPUT, RESULTS, DEAD_LETTERS = "documents", "documents.results", "documents.dlq"
WINDOW = "2m"
"""Longer than the run, so that each rate and each increase looks at all of it."""

EMPTY_PANELS: dict[str, str] = {}
"""Title of a panel that this run gives no data, and why."""

EMPTY_SELECTORS = {
    'docsluice_llm_requests_total{outcome="rate_limited"}': "the provider sets no limit in this run",
    'docsluice_llm_requests_total{outcome="quota_exhausted"}': "the rehearsed account is never empty",
}
"""A series that an alert waits for and that this run does not make, and why."""

ORDINARY = [
    json.dumps({"document_id": f"d-{n}", "text": f"The {n}th account of a harbour. " * (5 + n % 7)}).encode()
    for n in range(60)
]
ORDINARY.append(json.dumps({"document_id": "d-more", "text": "An account of a harbour.", "page": 3}).encode())
"""With a field that is left out."""
FAULTY = [
    json.dumps({"document_id": "d-refused", "text": "A text that is refused. [[rehearse:refusal]]"}).encode(),
    json.dumps({"document_id": "d-retried", "text": "A text that fails at first. [[rehearse:500x2]]"}).encode(),
    b"{ not JSON",
]
TOMBSTONES = 2


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server on this machine that answers GET."""

    port: int

    def get(self, path: str, **parameters: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"{path}?{urlencode(parameters)}" if parameters else path)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, f"{path} {parameters}: {response.status} {body.decode()}"
            return body
        finally:
            connection.close()

    def answers(self, path: str) -> bool:
        with contextlib.suppress(OSError, AssertionError):
            self.get(path)
            return True
        return False


@dataclass(frozen=True, kw_only=True)
class Prometheus(Site):
    """Its HTTP interface."""

    def api(self, path: str, **parameters: str) -> Any:
        answer = json.loads(self.get(f"/api/v1/{path}", **parameters))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[float]:
        """The value of each series that the expression gives now. One that is not a number is none."""
        values = [float(series["value"][1]) for series in self.api("query", query=expression)["result"]]
        return [value for value in values if not math.isnan(value)]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a run from before its first document until after its last."""
    if shutil.which("prometheus") is None:
        missing = "prometheus is not on PATH (Debian: apt-get install prometheus)"
        if required.PROMETHEUS:
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("dashboards")
    with running_consumer(folder) as run, running_prometheus(folder, target=run.consumer.port) as server:
        _until("the first scrape", lambda: server.query('up{job="docsluice"}') == [1])
        run.work()
        _until("the last scrape", lambda: server.query("sum(docsluice_documents_total)") == [run.documents])
        time.sleep(2 * SCRAPE_SECONDS)
        yield server


@dataclass(frozen=True, kw_only=True)
class Run:
    """A consumer process, and the documents that it will be given."""

    consumer: Site
    bootstrap_servers: str
    documents: int = len(ORDINARY) + len(FAULTY) + TOMBSTONES

    def work(self) -> None:
        """Send the documents and return when each has ended."""
        asyncio.run(_send(self.bootstrap_servers, [*FAULTY, *[None] * TOMBSTONES, *ORDINARY]))
        _until("every document has ended", lambda: self._ended() == self.documents)

    def _ended(self) -> float:
        families = text_string_to_metric_families(self.consumer.get("/metrics").decode())
        return sum(s.value for family in families for s in family.samples if s.name == "docsluice_documents_total")


@contextlib.contextmanager
def running_consumer(folder: Path) -> Iterator[Run]:
    """The consumer's own process between the embedded broker and the rehearsal provider."""
    consumer = Site(port=free_port())
    latency = ["--median-seconds", "0.05", "--sigma", "0.5"]
    with (
        embedded_broker(data_dir=folder / "broker") as broker,
        rehearsal_process(log_path=folder / "rehearsal.log", arguments=latency) as provider,
    ):
        asyncio.run(_create_topics(broker.bootstrap_servers))
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "OPENAI_API_KEY": "rehearsal",
            "OPENAI_BASE_URL": provider,
            "DOCSLUICE_INPUT_TOPIC": INPUT,
            "DOCSLUICE_RESULT_TOPIC": RESULTS,
            "DOCSLUICE_DEAD_LETTER_TOPIC": DEAD_LETTERS,
            "DOCSLUICE_MODEL": "gpt-4o-mini",
            "DOCSLUICE_HTTP_PORT": str(consumer.port),
            # Low enough that calls wait for each and that partitions are paused.
            "DOCSLUICE_MAX_CONCURRENCY": "3",
            "DOCSLUICE_BUDGET_USD_PER_HOUR": "1000",
            "DOCSLUICE_STATE_DIR": str(folder / "state"),
            "DOCSLUICE_REQUESTS_PER_MINUTE": "2400",
            "DOCSLUICE_INPUT_TOKENS_PER_MINUTE": "1000000",
            "DOCSLUICE_OUTPUT_TOKENS_PER_MINUTE": "1000000",
            "DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION": "8",
        }
        with child_process(
            name="consumer",
            command=[sys.executable, "-m", "docsluice_consumer", "run"],
            log_path=folder / "consumer.log",
            environment=environment,
            is_ready=lambda: consumer.answers("/readyz"),
        ):
            yield Run(consumer=consumer, bootstrap_servers=broker.bootstrap_servers)


@contextlib.contextmanager
def running_prometheus(folder: Path, *, target: int) -> Iterator[Prometheus]:
    """A Prometheus that knows our alerts and scrapes one consumer."""
    server = Prometheus(port=free_port())
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "docsluice", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{server.port}",
        "--log.level=warn",
    ]
    with child_process(
        name="prometheus",
        command=command,
        log_path=folder / "prometheus.log",
        is_ready=lambda: server.answers("/-/ready"),
    ):
        yield server


async def _create_topics(bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1) for topic in TOPICS])
    finally:
        await admin.close()


async def _send(bootstrap_servers: str, values: Sequence[bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        for number, value in enumerate(values):
            await producer.send(INPUT, key=str(number).encode(), value=value)
        await producer.flush()


def _until(what: str, holds: Any, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for: {what}"
        time.sleep(0.1)


def _panels() -> Iterator[tuple[str, str]]:
    """The title and the expression of every query on the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def _alerts() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def _as_grafana_sends(expression: str) -> str:
    for name in ("$__rate_interval", "$__range", "$__interval"):
        expression = expression.replace(name, WINDOW)
    return re.sub(r"\$(?:job|instance)\b", ".*", expression)


def _selectors(expression: str) -> list[str]:
    """The series that an expression reads: each metric with the labels that it asks for."""
    return re.findall(r"\b(?:docsluice_\w+|up)\b(?:\{[^}]*\})?", expression)


@pytest.mark.parametrize(("title", "expression"), [pytest.param(*panel, id=panel[0]) for panel in _panels()])
def test_every_panel_has_data(prometheus: Prometheus, title: str, expression: str) -> None:
    """A panel that parses and stays empty while documents flow would be found out in an outage."""
    sent = _as_grafana_sends(expression)
    assert "$" not in sent, "a variable that this test does not know"
    values = prometheus.query(sent)
    if title in EMPTY_PANELS:
        assert not values, f"{title} has data now: take it off the list"
    else:
        assert values, f"{title}: no data from {sent}"


@pytest.mark.parametrize(
    "variable", [v["query"]["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
)
def test_every_variable_has_values(prometheus: Prometheus, variable: str) -> None:
    """The choices at the head of the dashboard are filled from what was scraped."""
    match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable)
    assert match is not None
    selector, label = match.groups()
    assert prometheus.api(f"label/{label}/values", **{"match[]": _as_grafana_sends(selector)})


def test_every_alert_is_evaluated(prometheus: Prometheus) -> None:
    """Prometheus itself takes the file of alerts and finds nothing wrong in any of them."""
    _until("every rule has been evaluated", lambda: all(rule["health"] != "unknown" for rule in _rules(prometheus)))
    rules = _rules(prometheus)
    assert [rule["name"] for rule in rules] == [name for name, _ in _alerts()]
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}


@pytest.mark.parametrize(("alert", "expression"), [pytest.param(*alert, id=alert[0]) for alert in _alerts()])
def test_every_alert_reads_series_that_exist(prometheus: Prometheus, alert: str, expression: str) -> None:
    """An alert on a series that nobody exports never fires."""
    selectors = _selectors(expression)
    assert selectors, alert
    for selector in selectors:
        found = prometheus.query(f"count({selector})")
        assert bool(found) != (selector in EMPTY_SELECTORS), f"{alert}: {selector} gives {found}"


def test_what_was_counted_is_what_happened(prometheus: Prometheus) -> None:
    """The dashboard's totals are the run's: documents by outcome, and dead letters by reason."""
    dead = {"refused": 1, "undecodable": 1}
    for outcome, count in (("dead_letter", sum(dead.values())), ("skipped", TOMBSTONES), ("result", len(ORDINARY) + 1)):
        assert prometheus.query(f'sum(docsluice_documents_total{{outcome="{outcome}"}})') == [count]
    for reason, count in dead.items():
        assert prometheus.query(f'sum(docsluice_dead_letters_total{{reason="{reason}"}})') == [count]


def _rules(prometheus: Prometheus) -> list[Any]:
    return [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
