"""The OpenAPI document: it is valid, describes the served models, and contains their schemas and examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive, read_manifest
from continuous_training.serving.process.client import ServerClient

NAMES = ("diabetes", "digits", "reviews", "toy")


@pytest.fixture(scope="module")
def document(gallery: str) -> Any:
    return requests.get(f"{gallery}/openapi.json", timeout=30).json()


def validator(document: Any, name: str) -> Draft202012Validator:
    reference = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(reference)


def test_the_document_is_valid_and_contains_every_model(document: Any) -> None:
    validate(document)
    assert {path for path in document["paths"] if path.startswith("/predict/")} == {
        f"/predict/{name}" for name in NAMES
    }
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", NAMES)
def test_golden_requests_and_responses_are_valid_examples(
    document: Any, archives: dict[str, Archive], name: str
) -> None:
    golden = read_manifest(archives[name].path).golden
    for pair in golden:
        validator(document, f"{name}.Request").validate(pair.request)
        validator(document, f"{name}.Answer").validate(pair.response)
    operation = document["paths"][f"/predict/{name}"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"].values()
    assert [example["value"] for example in examples] == [pair.request for pair in golden.requests[:5]]
    assert operation["x-model"]["digest"] == archives[name].digest


@pytest.mark.parametrize("name", NAMES)
def test_the_responses_to_the_examples_are_valid(gallery: str, document: Any, name: str) -> None:
    for path, schema in ((f"/predict/{name}", "Answer"), (f"/v2/models/{name}/infer", "InferResponse")):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert body["examples"]
        for example in body["examples"].values():
            response = requests.post(gallery + path, json=example["value"], timeout=30)
            assert response.status_code == 200, response.text
            validator(document, f"{name}.{schema}").validate(response.json())


@pytest.mark.parametrize("name", NAMES)
def test_the_v1_example_returns_valid_predictions(gallery: str, document: Any, name: str) -> None:
    path = f"/v1/models/{name}:predict"
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    response = requests.post(gallery + path, json=body["example"], timeout=30)
    assert response.status_code == 200, response.text
    predictions = response.json()["predictions"]
    requests_ = body["example"]["instances"]
    assert len(predictions) == len(requests_) > 1
    for request_, prediction in zip(requests_, predictions, strict=True):
        validator(document, f"{name}.Answer").validate(prediction)
        assert prediction == requests.post(f"{gallery}/predict/{name}", json=request_, timeout=30).json()


@pytest.mark.parametrize(
    ("name", "request_", "valid"),
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
def test_a_request_is_accepted_only_if_it_is_valid(
    gallery: str, document: Any, name: str, request_: Any, valid: bool
) -> None:
    assert validator(document, f"{name}.Request").is_valid(request_) is valid
    response = requests.post(f"{gallery}/predict/{name}", json=request_, timeout=30)
    assert response.status_code == (200 if valid else 400)


@pytest.mark.parametrize(
    ("shape", "data", "valid"),
    [
        ([1, 8, 8], [0] * 64, True),
        ([1, 8, 8], [[[0] * 8] * 8], True),
        ([2, 8, 8], [[[16] * 8] * 8] * 2, True),
        ([0, 8, 8], [], False),
        ([1, 8, 7], [0] * 56, False),
        ([1, 64], [0] * 64, False),
        ([1, 8, 8], [[[0] * 8] * 7], False),
        ([1, 8, 8], [[[0] * 7] * 8], False),
        ([1, 8, 8], [17] * 64, False),
    ],
)
def test_the_schema_of_a_tensor_has_its_shape_and_its_range(
    gallery: str, document: Any, shape: list[int], data: list[Any], valid: bool
) -> None:
    request_ = {"inputs": [{"name": "image", "datatype": "FP32", "shape": shape, "data": data}]}
    assert validator(document, "digits.InferRequest").is_valid(request_) is valid
    response = requests.post(f"{gallery}/v2/models/digits/infer", json=request_, timeout=30)
    assert response.status_code == (200 if valid else 400)


def test_numbers_have_the_range_of_the_training_rows(document: Any) -> None:
    single = document["components"]["schemas"]["diabetes.Request"]["oneOf"][0]
    patient = single["properties"]["patient"]["properties"]
    assert patient["age"]["x-range"] == {"minimum": 19, "maximum": 79, "default": 48.7, "step": 0.1}
    assert patient["sex"]["x-range"] == {"minimum": 1, "maximum": 2, "default": 1, "step": 1}
    assert patient["bmi"]["description"] == "body mass index, kg/m²"


def test_a_missing_schema_is_inferred_from_the_golden_requests(document: Any) -> None:
    schema = document["components"]["schemas"]["toy.Request"]
    assert schema["x-inferred"]
    assert schema["properties"] == {"x": {"type": "array", "items": {"type": "number"}}}
    assert "inferred" in document["paths"]["/predict/toy"]["post"]["description"]


def test_only_models_with_image_inputs_accept_image_files(document: Any) -> None:
    def media_types(name: str) -> set[str]:
        return set(document["paths"][f"/predict/{name}"]["post"]["requestBody"]["content"])

    assert media_types("digits") >= {"application/json", "multipart/form-data", "image/png", "image/jpeg"}
    assert media_types("diabetes") == media_types("toy") == {"application/json"}


def test_the_document_changes_with_the_served_models(endpoint: ServerClient, tmp_path: Path) -> None:
    def read() -> Any:
        return requests.get(f"{endpoint.running.url}/openapi.json", timeout=30).json()

    assert not any(path.startswith("/predict/") for path in read()["paths"])
    for scale in (2, 3):
        archive = make_archive(tmp_path, scale=scale)
        endpoint.load("toy", archive.path, archive.digest)
        operation = read()["paths"]["/predict/toy"]["post"]
        assert operation["x-model"]["version"] == archive.digest[:12]
        examples = operation["responses"]["200"]["content"]["application/json"]["examples"]
        assert examples["golden-1"]["value"] == {"scale": scale, "y": [scale, 2.5 * scale]}
