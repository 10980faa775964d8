"""The OpenAPI document: valid, true to what is served, and made of each model's own schemas and examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from toy_models import make_archive

from continuous_training.artifacts.archive import Archive, read_manifest
from continuous_training.serving.process.client import ServerClient

NAMES = ("diabetes", "digits", "reviews", "toy")


@pytest.fixture(scope="module")
def document(gallery: str) -> Any:
    return requests.get(f"{gallery}/openapi.json", timeout=30).json()


def schema(document: Any, name: str) -> Draft202012Validator:
    found = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(found)


def test_it_is_a_valid_document_of_every_model(document: Any) -> None:
    validate(document)
    assert {path for path in document["paths"] if path.startswith("/predict/")} == {
        f"/predict/{name}" for name in NAMES
    }
    for found in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(found)


@pytest.mark.parametrize("name", NAMES)
def test_golden_requests_and_answers_fit_and_are_its_examples(
    document: Any, archives: dict[str, Archive], name: str
) -> None:
    golden = read_manifest(archives[name].path).golden.to_json()
    for row in golden:
        schema(document, f"{name}.Request").validate(row["request"])
        schema(document, f"{name}.Answer").validate(row["answer"])
    operation = document["paths"][f"/predict/{name}"]["post"]
    shown = operation["requestBody"]["content"]["application/json"]["examples"].values()
    assert [example["value"] for example in shown] == [row["request"] for row in golden[:5]]
    assert operation["x-model"]["digest"] == archives[name].digest


@pytest.mark.parametrize("name", NAMES)
def test_its_examples_are_answered_as_it_says(gallery: str, document: Any, name: str) -> None:
    for path, answer in ((f"/predict/{name}", "Answer"), (f"/v2/models/{name}/infer", "InferResponse")):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert body["examples"]
        for example in body["examples"].values():
            given = requests.post(gallery + path, json=example["value"], timeout=30)
            assert given.status_code == 200, given.text
            schema(document, f"{name}.{answer}").validate(given.json())


@pytest.mark.parametrize(
    ("name", "request_", "fits"),
    [
        ("digits", {"image": [[0] * 8] * 8}, True),
        ("digits", {"images": [[[16] * 8] * 8]}, True),
        ("digits", {"image": [[0] * 8] * 7}, False),
        ("digits", {"image": [[17] * 8] * 8}, False),
        ("digits", {"images": []}, False),
        ("digits", {"image": [[0] * 8] * 8, "images": [[[0] * 8] * 8]}, False),
        ("diabetes", {"patient": {"age": 1}}, False),
        ("diabetes", {"patients": []}, False),
        ("reviews", {"text": ["a"], "do_fast": True}, True),
        ("reviews", {"text": ["a"], "do_fast": 1}, False),
    ],
)
def test_a_request_is_answered_exactly_when_it_fits(
    gallery: str, document: Any, name: str, request_: Any, fits: bool
) -> None:
    assert schema(document, f"{name}.Request").is_valid(request_) is fits
    answer = requests.post(f"{gallery}/predict/{name}", json=request_, timeout=30)
    assert answer.status_code == (200 if fits else 400)


def test_numbers_carry_the_range_of_the_training_rows(document: Any) -> None:
    one = document["components"]["schemas"]["diabetes.Request"]["oneOf"][0]
    patient = one["properties"]["patient"]["properties"]
    assert patient["age"]["x-range"] == {"minimum": 19, "maximum": 79, "default": 48.7, "step": 0.1}
    assert patient["sex"]["x-range"] == {"minimum": 1, "maximum": 2, "default": 1, "step": 1}
    assert patient["bmi"]["description"] == "body mass index, kg/m²"


def test_a_model_that_tells_nothing_is_described_by_its_golden_requests(document: Any) -> None:
    found = document["components"]["schemas"]["toy.Request"]
    assert found["x-inferred"]
    assert found["properties"] == {"x": {"type": "array", "items": {"type": "number"}}}
    assert "inferred" in document["paths"]["/predict/toy"]["post"]["description"]


def test_only_models_of_pictures_take_pictures(document: Any) -> None:
    def types(name: str) -> set[str]:
        return set(document["paths"][f"/predict/{name}"]["post"]["requestBody"]["content"])

    assert types("digits") >= {"application/json", "multipart/form-data", "image/png", "image/jpeg"}
    assert types("diabetes") == types("toy") == {"application/json"}


def test_it_changes_with_what_is_served(endpoint: ServerClient, tmp_path: Path) -> None:
    def read() -> Any:
        return requests.get(f"{endpoint.running.url}/openapi.json", timeout=30).json()

    assert not any(path.startswith("/predict/") for path in read()["paths"])
    for scale in (2, 3):
        written = make_archive(tmp_path, scale=scale)
        endpoint.load("toy", written.path, written.digest)
        operation = read()["paths"]["/predict/toy"]["post"]
        assert operation["x-model"]["version"] == written.digest[:12]
        examples = operation["responses"]["200"]["content"]["application/json"]["examples"]
        assert examples["golden-1"]["value"] == {"scale": scale, "y": [scale, 2.5 * scale]}
