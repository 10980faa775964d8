"""The page at `/` with the workloads that answer with pictures of training and with sentiments."""

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
def started() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of both, learned from their samples."""
    torch = pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")
    # Threads that wait for each other on a machine with other things to do take ten times as long.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("both")
    endpoint = ServerClient(daemon.start(folder / "state", 0))
    for name, values in (("mnist", {"epochs": "3"}), ("nsmc", {})):
        written = workload_archive(name, folder / name, **values)
        endpoint.load(name, written.path, written.digest)
    yield endpoint.running.url
    daemon.stop(folder / "state")


def visit(started: Any, url: str, model: str) -> Any:
    page = started.new_page()
    page.goto(f"{url}/#{model}")
    page.wait_for_selector("#answer .result")
    return page


def test_a_digit_is_drawn_and_its_neighbours_are_seen(started: Any, served: str) -> None:
    page = visit(started, served, "mnist")
    with page.expect_response("**/predict/**") as waiting:
        draw(page, SEVEN)
    content = waiting.value.json()
    page.wait_for_selector("#answer:not([aria-busy])")
    assert page.locator("#answer .headline").inner_text() == "7"
    assert page.locator("#answer meter").count() == 1
    strip = page.locator(".strip canvas")
    assert strip.count() == 10
    (prediction,) = content["answer"]["predictions"]
    painted = strip.first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 == 0)"
    )
    assert painted == [255 - ink for row in prediction["pictures"][0] for ink in row]
    assert f"label {prediction['labels'][0]}" in page.locator(".strip li").first.inner_text().replace(
        "\n", " "
    )


def test_reviews_are_typed_and_judged_one_by_one(started: Any, served: str) -> None:
    page = visit(started, served, "nsmc")
    with page.expect_response("**/predict/**") as waiting:
        page.get_by_label("text").fill("정말 재미있어요\n지루하고 재미없다")
        page.get_by_role("button", name="Ask").click()
    found = waiting.value.json()["answer"]["predictions"]
    page.wait_for_selector("#answer:not([aria-busy])")
    shown = page.locator("#answer .headline").all_inner_texts()
    assert shown == [one["label"] for one in found]
    assert page.locator("#answer meter").count() == 2


@pytest.mark.parametrize("name", ["mnist", "nsmc"])
def test_the_document_has_real_schemas_with_examples_that_fit_them(served: str, name: str) -> None:
    document = requests.get(f"{served}/openapi.json", timeout=30).json()
    schemas = document["components"]["schemas"]
    asked = document["paths"][f"/predict/{name}"]["post"]
    sent = asked["requestBody"]["content"]["application/json"]["examples"]
    answers = asked["responses"]["200"]["content"]["application/json"]["examples"]
    assert sent
    assert sent.keys() == answers.keys()
    for kind, examples in (("Request", sent), ("Answer", answers)):
        schema = schemas[f"{name}.{kind}"]
        assert "x-inferred" not in schema
        for example in examples.values():
            Draft202012Validator(schema).validate(example["value"])
    request = next(iter(sent.values()))["value"]
    shown = requests.post(f"{served}/predict/{name}?illustrate=true", json=request, timeout=30).json()
    Draft202012Validator(schemas[f"{name}.Answer"]).validate(shown["answer"])


@pytest.mark.parametrize(
    ("request_", "fits"),
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
def test_the_schema_of_reviews_takes_what_the_handler_takes(served: str, request_: Any, fits: bool) -> None:
    schema = requests.get(f"{served}/openapi.json", timeout=30).json()["components"]["schemas"][
        "nsmc.Request"
    ]
    answer = requests.post(f"{served}/predict/nsmc", json=request_, timeout=30)
    assert (answer.status_code == 200) is fits is Draft202012Validator(schema).is_valid(request_)
