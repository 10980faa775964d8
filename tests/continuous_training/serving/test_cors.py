"""Cross-origin resource sharing: off by default, and for the origins of the option --cors-origin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from foreground import Server, serving
from toy_models import make_archive

from continuous_training.serving.process import cli

SHOP, LAB, OTHER = "https://shop.example", "http://localhost:3000", "https://other.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, x-request-id",
}
ALLOWED = ("--cors-origin", "https://Shop.example", "--cors-origin", LAB)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("toy"))) as server:
        yield server


@pytest.fixture(scope="module", params=[ALLOWED, (*ALLOWED, "--no-fast-path")], ids=["fast", "no fast path"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("toy")), options=request.param) as server:
        yield server


def predict(server: Server, origin: str | None, x: object = 1) -> requests.Response:
    headers = {"Origin": origin}
    return requests.post(f"{server.url}/predict/toy", json={"x": [x]}, headers=headers, timeout=10)


def preflight(server: Server, origin: str, path: str = "/predict/toy") -> requests.Response:
    return requests.options(f"{server.url}{path}", headers={"Origin": origin, **PREFLIGHT}, timeout=10)


def cors_headers(response: requests.Response) -> set[str]:
    return {name.lower() for name in response.headers if name.lower().startswith("access-control")}


def test_without_the_option_no_origin_is_allowed(toy: Server) -> None:
    response = predict(toy, SHOP)
    assert response.status_code == 200
    assert not cors_headers(response)
    assert "vary" not in response.headers
    refused = preflight(toy, SHOP)
    assert refused.status_code == 405
    assert not cors_headers(refused)


@pytest.mark.parametrize("origin", [SHOP, LAB])
def test_an_allowed_origin_can_send_requests_and_read_responses(server: Server, origin: str) -> None:
    allowed = preflight(server, origin)
    assert (allowed.status_code, allowed.content) == (200, b"")
    assert allowed.headers["access-control-allow-origin"] == origin
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-headers"] == "content-type, x-request-id"
    for response in (predict(server, origin), predict(server, origin, "text")):
        assert response.headers["access-control-allow-origin"] == origin
        assert "x-model-digest" in response.headers["access-control-expose-headers"]
        assert response.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in response.headers
    assert predict(server, origin).json()["y"] == [2.0]
    assert predict(server, origin, "text").status_code == 400


@pytest.mark.parametrize("origin", [OTHER, "https://shop.example.evil.example", "null", None])
def test_another_origin_is_not_allowed(server: Server, origin: str | None) -> None:
    response = predict(server, origin)
    assert response.status_code == 200
    assert not cors_headers(response)
    assert response.headers["vary"] == "origin"
    if origin is not None:
        assert preflight(server, origin).status_code == 405
        assert not cors_headers(preflight(server, origin))


def test_a_preflight_is_answered_for_every_path(server: Server) -> None:
    assert preflight(server, SHOP, "/openapi.json").status_code == 200
    assert preflight(server, SHOP, "/v2/models/toy/infer").status_code == 200


def test_vary_keeps_its_other_headers(server: Server) -> None:
    response = requests.get(f"{server.url}/", headers={"Origin": SHOP}, timeout=10)
    assert response.headers["vary"] == "accept, origin"


def test_options_without_a_preflight_is_405(server: Server) -> None:
    response = requests.options(f"{server.url}/predict/toy", headers={"Origin": SHOP}, timeout=10)
    assert response.status_code == 405
    assert response.headers["access-control-allow-origin"] == SHOP


def test_all_origins(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=("--cors-origin", "*")) as server:
        for origin in (OTHER, None):
            response = predict(server, origin)
            assert response.headers["access-control-allow-origin"] == "*"
            assert "vary" not in response.headers
        assert preflight(server, OTHER).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://a b", "", "https://"])
def test_an_invalid_origin_is_rejected(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--archive", "x.mar", "--cors-origin", origin]) == 2
    assert "is not an origin" in capsys.readouterr().err
