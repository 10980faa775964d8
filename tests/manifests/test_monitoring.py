"""Alerts and dashboard speak of metrics that the model server has, in words that Prometheus reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.metrics import Metrics

from .rendering import MANIFESTS

MONITORING = MANIFESTS / "components/monitoring"
OF_PROMETHEUS = {"up"}


def expressions() -> Iterator[Any]:
    """Yield every expression of the rules and the dashboard, with where it stands."""
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            yield pytest.param(rule["expr"], id=rule["alert"])
    board = json.loads((MONITORING / "model-servers.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of what a model server writes."""
    metrics = Metrics(ModelRepository(tmp_path_factory.mktemp("server"), 1))
    metrics.add_queue_gauges(lambda: 0, lambda: 0)
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {
        family.name + ending
        for family in metrics.registry.collect()
        for ending in endings.get(family.type, ("",))
    }


@pytest.mark.parametrize("expression", list(expressions()))
def test_expressions_parse_and_name_metrics_that_there_are(expression: str, served: set[str]) -> None:
    written = expression.replace("$__rate_interval", "5m").replace("$namespace", "ct").replace("$model", "m")
    promql_parser.parse(written)
    names = set(re.findall(r"\b(up|(?:serving|process)_\w+)\b", written))
    assert names
    assert names - OF_PROMETHEUS <= served


def test_alerts_name_the_job_that_the_service_monitor_makes() -> None:
    documents = list(yaml.safe_load_all((MONITORING / "service-monitor.yaml").read_text(encoding="utf-8")))
    service, monitor = documents
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert f'job="{service["metadata"]["name"]}"' in (MONITORING / "rules.yaml").read_text(encoding="utf-8")
