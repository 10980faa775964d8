"""The page at `/` with the workloads mnist (pictures of training rows) and nsmc (sentiments)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from browser import SEVEN, browser, draw, program
from jsonschema import Draft202012Validator
from workload_archives import workload_archive

from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient

pytestmark = pytest.mark.skipif(program() is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as instance:
        yield instance


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with both models, trained on their samples."""
    torch = pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")
    # On a busy machine, training with several threads takes ten times as long as with one.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("both")
    endpoint = ServerClient(daemon.start(folder / "state", 0))
    for name, values in (("mnist", {"epochs": "3"}), ("nsmc", {})):
        archive = workload_archive(name, folder / name, **values)
        endpoint.load(name, archive.path, archive.digest)
    yield endpoint.running.url
    daemon.stop(folder / "state")


def visit(chromium: Any, url: str, model: str) -> Any:
    page = chromium.new_page()
    page.goto(f"{url}/#{model}")
    page.wait_for_selector("#prediction .result")
    return page


def test_drawn_digit_has_neighbours_with_pictures(chromium: Any, served: str) -> None:
    page = visit(chromium, served, "mnist")
    with page.expect_response("**/predict/**") as response_info:
        draw(page, SEVEN)
    content = response_info.value.json()
    page.wait_for_selector("#prediction:not([aria-busy])")
    assert page.locator("#prediction .headline").inner_text() == "7"
    assert page.locator("#prediction meter").count() == 1
    strip = page.locator(".strip canvas")
    assert strip.count() == 10
    (prediction,) = content["answer"]["predictions"]
    pixels = strip.first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 == 0)"
    )
    assert pixels == [255 - ink for row in prediction["pictures"][0] for ink in row]
    assert f"label {prediction['labels'][0]}" in page.locator(".strip li").first.inner_text().replace(
        "\n", " "
    )


def test_each_review_has_a_prediction(chromium: Any, served: str) -> None:
    page = visit(chromium, served, "nsmc")
    with page.expect_response("**/predict/**") as response_info:
        page.get_by_label("text").fill("정말 재미있어요\n지루하고 재미없다")
        page.get_by_role("button", name="Predict").click()
    predictions = response_info.value.json()["answer"]["predictions"]
    page.wait_for_selector("#prediction:not([aria-busy])")
    headlines = page.locator("#prediction .headline").all_inner_texts()
    assert headlines == [prediction["label"] for prediction in predictions]
    assert page.locator("#prediction meter").count() == 2


@pytest.mark.parametrize("name", ["mnist", "nsmc"])
def test_openapi_examples_match_their_schemas(served: str, name: str) -> None:
    document = requests.get(f"{served}/openapi.json", timeout=30).json()
    schemas = document["components"]["schemas"]
    operation = document["paths"][f"/predict/{name}"]["post"]
    requests_ = operation["requestBody"]["content"]["application/json"]["examples"]
    responses = operation["responses"]["200"]["content"]["application/json"]["examples"]
    assert requests_
    assert requests_.keys() == responses.keys()
    for kind, examples in (("Request", requests_), ("Answer", responses)):
        schema = schemas[f"{name}.{kind}"]
        assert "x-inferred" not in schema
        for example in examples.values():
            Draft202012Validator(schema).validate(example["value"])
    request = next(iter(requests_.values()))["value"]
    response = requests.post(f"{served}/predict/{name}?illustrate=true", json=request, timeout=30).json()
    Draft202012Validator(schemas[f"{name}.Answer"]).validate(response["answer"])


@pytest.mark.parametrize(
    ("request_", "valid"),
    [
        ({"text": ["좋아요"]}, True),
        ({"text": "좋아요", "use_fast": True}, True),
        ({"text": ["좋아요"], "do_fast": True, "use_fast": True}, True),
        ({"text": []}, False),
        ({"text": [1]}, False),
        ({"text": ["좋아요"], "do_fast": "yes"}, False),
        ({"text": ["좋아요"], "fast": True}, False),
        ({}, False),
    ],
)
def test_schema_of_reviews_accepts_the_same_requests_as_the_handler(
    served: str, request_: Any, valid: bool
) -> None:
    schema = requests.get(f"{served}/openapi.json", timeout=30).json()["components"]["schemas"][
        "nsmc.Request"
    ]
    response = requests.post(f"{served}/predict/nsmc", json=request_, timeout=30)
    assert (response.status_code == 200) is valid is Draft202012Validator(schema).is_valid(request_)
