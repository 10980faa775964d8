"""Alerts and dashboard use metrics of the model server, in valid PromQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.prometheus_metrics import Metrics

from .rendering import MANIFESTS

MONITORING = MANIFESTS / "components/monitoring"
PROMETHEUS_METRICS = {"up"}


def expressions() -> Iterator[Any]:
    """Yield each expression of the rules and the dashboard, with its location as the test id."""
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            yield pytest.param(rule["expr"], id=rule["alert"])
    board = json.loads((MONITORING / "model-servers.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


@pytest.fixture(scope="module")
def server_metrics(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the metrics of a model server."""
    metrics = Metrics(ModelRepository(tmp_path_factory.mktemp("server"), 1))
    metrics.add_queue_gauges(lambda: 0, lambda: 0)
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {
        family.name + suffix
        for family in metrics.registry.collect()
        for suffix in suffixes.get(family.type, ("",))
    }


@pytest.mark.parametrize("expression", list(expressions()))
def test_expressions_are_valid_and_use_existing_metrics(expression: str, server_metrics: set[str]) -> None:
    query = expression.replace("$__rate_interval", "5m").replace("$namespace", "ct").replace("$model", "m")
    promql_parser.parse(query)
    names = set(re.findall(r"\b(up|(?:serving|process)_\w+)\b", query))
    assert names
    assert names - PROMETHEUS_METRICS <= server_metrics


def test_alerts_use_the_job_of_the_service_monitor() -> None:
    documents = list(yaml.safe_load_all((MONITORING / "service-monitor.yaml").read_text(encoding="utf-8")))
    service, monitor = documents
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert f'job="{service["metadata"]["name"]}"' in (MONITORING / "rules.yaml").read_text(encoding="utf-8")
