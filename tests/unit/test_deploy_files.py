"""What is deployed agrees with the code: compose file, image, alerts and dashboard."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docsluice_consumer.settings import Settings, variable_of
from docsluice_consumer.telemetry.catalogue import CATALOGUE, PREFIX
from tests import required

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONSUMERS = [name for name in COMPOSE["services"] if name.endswith("consumer")]
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "docsluice.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

NOT_FROM_OUTSIDE = {
    "DOCSLUICE_GROUP_INSTANCE_ID": "each replica needs its own, and all are made from one service here",
    "DOCSLUICE_HTTP_HOST": "Prometheus comes from another container",
    "DOCSLUICE_HTTP_PORT": "prometheus.yml and the image name it; each container has it to itself",
}
"""Settings that the compose file does not pass on, and why, nor those of the broker's security, for it has none."""


def test_promtool_finds_nothing_wrong() -> None:
    """The configuration loads, and each alert fires when it should and stays quiet when it should."""
    if shutil.which("promtool") is None:
        missing = "promtool is not on PATH (Debian: apt-get install prometheus)"
        if required.PROMETHEUS:
            pytest.fail(missing)
        pytest.skip(missing)
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_has_a_runbook() -> None:
    """An alert says what to do."""
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules}
    for rule in rules:
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_queries_ask_only_for_metrics_and_labels_that_exist() -> None:
    """A renamed metric or label fails here, not in an outage."""
    labels = {PREFIX + metric.name: set(metric.labels) for metric in CATALOGUE}
    for expression in _expressions():
        for metric, matchers in re.findall(r"\b(docsluice_\w+)(?:\{([^}]*)\})?", expression):
            name = metric.removesuffix("_bucket")
            assert name in labels, expression
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert asked <= labels[name] | {"job", "instance"}, expression


def test_every_metric_is_shown() -> None:
    """What is worth counting is worth a place on the dashboard."""
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    assert [metric.name for metric in CATALOGUE if not re.search(rf"\b{PREFIX}{metric.name}(_bucket)?\b", shown)] == []


def test_panels_can_be_read() -> None:
    """Each says what it shows and in what unit, names its series, and uses the data source that the viewer chose."""
    for panel in PANELS:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["legendFormat"] or panel["type"] == "table", panel["title"]
            assert {'job=~"$job"', 'instance=~"$instance"'} <= set(re.findall(r"\w+=~\"\$\w+\"", target["expr"]))


def test_panels_have_places_and_names_of_their_own() -> None:
    """No two panels overlap, none reaches over the edge, and ids and titles are unique."""
    for key in ("id", "title"):
        values = [panel[key] for panel in DASHBOARD["panels"]]
        assert len(values) == len(set(values)), key
    cells: list[tuple[int, int]] = []
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells += itertools.product(columns, rows)
    assert len(cells) == len(set(cells))


def test_grafana_finds_its_data_source_and_dashboard() -> None:
    """What provisioning points at is what the compose file mounts."""
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    provider = yaml.safe_load((provisioning / "dashboards" / "docsluice.yml").read_text())["providers"][0]
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    grafana = COMPOSE["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    for kind in ("datasources", "dashboards"):
        assert f"./deploy/grafana/provisioning/{kind}:/etc/grafana/provisioning/{kind}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/docsluice.json"
    assert source["url"] == "http://prometheus:9090"
    assert source["isDefault"] is True
    assert "prometheus" in COMPOSE["services"]


def test_prometheus_looks_for_the_consumers_where_they_are() -> None:
    """A consumer that is not looked for has no metrics."""
    scrape = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"][0]["dns_sd_configs"][0]
    assert sorted(scrape["names"]) == sorted(CONSUMERS)
    assert scrape["port"] == Settings.model_fields["http_port"].default


def test_every_setting_reaches_the_consumers() -> None:
    """A setting in the shell or in .env works in the container as well, and none is passed on that does not exist."""
    known = {variable_of(name) for name in Settings.model_fields if not name.startswith(("kafka_ssl", "kafka_sasl"))}
    known -= {"DOCSLUICE_KAFKA_SECURITY_PROTOCOL", *NOT_FROM_OUTSIDE}
    for name in CONSUMERS:
        assert set(COMPOSE["services"][name]["environment"]) == known


def test_a_rehearsal_cannot_spend_or_be_mistaken_for_the_real_thing() -> None:
    """It takes neither key nor address from the environment and shares no topic and no group with the live consumer."""
    rehearsal = COMPOSE["services"]["rehearsal-consumer"]["environment"]
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        assert "$" not in rehearsal[variable]
    for name in ("group_id", "input_topic", "result_topic", "dead_letter_topic"):
        assert rehearsal[variable_of(name)] not in {None, Settings.model_fields[name].default}
    assert COMPOSE["services"]["consumer"]["profiles"] == ["live"]
    assert COMPOSE["services"]["rehearsal-consumer"]["profiles"] == ["rehearsal"]


def test_docker_waits_for_the_drain() -> None:
    """A consumer that is killed while draining has paid for answers that nobody gets."""
    drain_seconds = Settings.model_fields["drain_seconds"].default
    for name in CONSUMERS:
        assert int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) > drain_seconds


def test_nothing_is_open_to_the_network() -> None:
    """Kafka has no password here and Grafana asks for none."""
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_images_are_pinned() -> None:
    """The same file gives the same parts tomorrow."""
    for service in COMPOSE["services"].values():
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_the_image_holds_no_secret() -> None:
    """The build sees only what is named: never .env, whose keys would stay in a layer."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    named = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert named == {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "requirements.lock",
        "docsluice",
        "consumer",
        "producer",
        "deploy",
    }


def test_the_image_serves_on_the_default_port() -> None:
    """EXPOSE and the health check mean the port that the consumer listens on."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    port = Settings.model_fields["http_port"].default
    assert f"EXPOSE {port}\n" in dockerfile
    assert f"'DOCSLUICE_HTTP_PORT', '{port}'" in dockerfile


def _expressions() -> Iterator[str]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield _text(variable["query"])


def _text(query: Any) -> str:
    return query["query"] if isinstance(query, dict) else str(query)
