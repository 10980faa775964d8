"""`/metrics` has the format that the client accepts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from foreground import Server, serving
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from toy_models import make_archive

from continuous_training.serving.process.metrics_format import select_format
from tests.attacks.metrics_formats import ACCEPT, OPENMETRICS, PROMETHEUS_3, TEXT_0, TEXT_1


@pytest.fixture(scope="module", params=[(), ("--workers", "2")], ids=["one process", "workers"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("toy")), options=request.param) as server:
        requests.post(f"{server.url}/predict/toy", json={"x": [1]}, timeout=10).raise_for_status()
        yield server


@pytest.mark.parametrize(("accept", "content_type"), ACCEPT)
def test_the_format_follows_from_accept(accept: str | None, content_type: str) -> None:
    assert select_format(accept).content_type == content_type


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [(None, TEXT_0), ("text/plain;version=1.0.0", TEXT_1), (PROMETHEUS_3, OPENMETRICS)],
)
def test_the_server_answers_in_that_format(server: Server, accept: str | None, content_type: str) -> None:
    response = requests.get(f"{server.url}/metrics", headers={"Accept": accept}, timeout=10)
    assert response.headers["content-type"] == content_type
    assert response.headers["vary"] == "accept"
    is_openmetrics = content_type == OPENMETRICS
    assert response.text.endswith("# EOF\n") is is_openmetrics
    families = {f.name: f for f in (parse_openmetrics if is_openmetrics else parse_text)(response.text)}
    assert families["serving_requests"].type == "counter"
    assert families["serving_request_seconds"].type == "histogram"
    assert {sample.labels["model"] for sample in families["serving_model"].samples} == {"toy"}
