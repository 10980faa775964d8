"""A server behind a proxy that adds a prefix to its paths: the option --root-path."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from foreground import Server, serving
from openapi_spec_validator import validate
from prometheus_samples import scrape, value
from toy_models import make_archive

from continuous_training.serving.process import cli

ROOT_PATH = ("--root-path", "/models/ct/")


@pytest.fixture(
    scope="module", params=[ROOT_PATH, (*ROOT_PATH, "--no-fast-path")], ids=["fast", "no fast path"]
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("toy")), options=request.param) as server:
        yield server


@pytest.mark.parametrize("prefix", ["", "/models/ct"])
def test_proxies_that_remove_the_prefix_and_that_do_not(server: Server, prefix: str) -> None:
    base = f"{server.url}{prefix}"
    assert requests.post(f"{base}/predict/toy", json={"x": [3]}, timeout=10).json()["y"] == [6.0]
    assert requests.post(f"{base}/predict", json={"x": [3]}, timeout=10).json()["y"] == [6.0]
    assert requests.get(f"{base}/v2/health/ready", timeout=10).json()["ready"]
    assert "<html" in requests.get(f"{base}/", headers={"Accept": "text/html"}, timeout=10).text
    assert requests.get(f"{base}/page/app.js", timeout=10).status_code == 200
    assert requests.get(f"{base}/predict/toy", timeout=10).status_code == 405


def test_the_page_is_redirected_to_the_path_with_a_slash(server: Server) -> None:
    """The links of the page are relative."""
    response = requests.get(f"{server.url}/models/ct", headers={"Accept": "text/html"}, timeout=10)
    assert [step.status_code for step in response.history] == [307]
    assert response.url == f"{server.url}/models/ct/"
    assert "<html" in response.text


@pytest.mark.parametrize(
    "path", ["/models/predict/toy", "/models/ct/models/ct/predict/toy", "/models/ctx/v2"]
)
def test_other_prefixes_are_not_found(server: Server, path: str) -> None:
    assert requests.get(f"{server.url}{path}", timeout=10).status_code == 404


def test_the_openapi_document_and_the_index_contain_the_prefix(server: Server) -> None:
    document = requests.get(f"{server.url}/models/ct/openapi.json", timeout=10).json()
    validate(document)
    assert document["servers"] == [{"url": "/models/ct"}]
    assert "/predict/toy" in document["paths"]
    index = requests.get(f"{server.url}/models/ct", timeout=10).json()
    assert index["models"][0]["predict"] == "/models/ct/predict/toy"
    assert index["openapi"] == "/models/ct/openapi.json"


def test_the_metrics_have_the_same_routes_with_and_without_the_prefix(server: Server) -> None:
    def count() -> float:
        samples = scrape(server.url)
        return value(samples, "serving_requests_total", model="toy", route="predict", status="200")

    before = count()
    for prefix in ("", "/models/ct"):
        requests.post(f"{server.url}{prefix}/predict/toy", json={"x": [3]}, timeout=10)
    assert count() == before + 2


@pytest.mark.parametrize("path", ["models", "/models//ct", "/a b", "https://x/models", "/models?x"])
def test_an_invalid_root_path_is_rejected(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--archive", "x.mar", "--root-path", path]) == 2
    assert "root-path" in capsys.readouterr().err
