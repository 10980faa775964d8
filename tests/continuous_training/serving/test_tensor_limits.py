"""A handler declares the range of its tensors once, and all protocols reject what is outside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import requests
from foreground import serving
from workload_archives import workload_archive

from tests.attacks import tensors
from tests.attacks.tensors import (
    INVALID_PIXELS,
    LEVELS,
    VALID_PIXELS,
    Post,
    big_endian,
    image,
    infer_raw,
    pixel_requests,
)
from workloads.handler import Handler, Tensor

FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def post(url: str, content: Any) -> requests.Response:
    return requests.post(url, data=json.dumps(content), timeout=10)


def send(url: str, request: Post) -> requests.Response:
    return requests.post(f"{url}{request.path}", data=request.body, headers=request.headers, timeout=10)


def infer(url: str, model: str, name: str, datatype: str, data: list[Any]) -> requests.Response:
    return send(url, tensors.infer(model, name, datatype, data))


def statuses(url: str, pixel: float) -> dict[str, int]:
    """Return the status of each protocol for an image with this pixel."""
    return {name: send(url, request).status_code for name, request in pixel_requests(pixel).items()}


@pytest.mark.parametrize("pixel", INVALID_PIXELS)
def test_all_protocols_reject_a_pixel_outside_the_range(gallery: str, pixel: float) -> None:
    assert statuses(gallery, pixel) == dict.fromkeys(["/predict", "V1", "V2", "V2, raw"], 400)


@pytest.mark.parametrize("pixel", VALID_PIXELS)
def test_all_protocols_answer_a_pixel_in_the_range(gallery: str, pixel: float) -> None:
    assert statuses(gallery, pixel) == dict.fromkeys(["/predict", "V1", "V2", "V2, raw"], 200)


def test_the_error_names_the_tensor_the_number_and_the_range(gallery: str) -> None:
    response = infer(gallery, "digits", "image", "FP32", [image(3), image(1000)])
    assert response.json()["error"] == "input 'image': 1000 is out of range; send numbers from 0 to 16"


@pytest.mark.parametrize("level", LEVELS)
def test_raw_big_endian_numbers_are_rejected(gallery: str, level: float) -> None:
    assert send(gallery, infer_raw(np.array(image(level), "<f4"))).status_code == 200
    response = send(gallery, big_endian(level))
    assert response.status_code == 400
    assert "little-endian" in response.json()["error"]


def test_a_raw_image_without_ink_is_answered(gallery: str) -> None:
    assert send(gallery, infer_raw(np.array(image(0), "<f4"))).status_code == 200


@pytest.mark.parametrize(("value", "status"), [(1e100, 200), (-1e100, 200), (1.01e100, 400), (-1e300, 400)])
def test_measurements_have_the_same_limit_in_all_protocols(gallery: str, value: float, status: int) -> None:
    row = [value, *([1.0] * 9)]
    patient = dict(zip(FEATURES, row, strict=True))
    assert post(f"{gallery}/predict/diabetes", {"patient": patient}).status_code == status
    assert infer(gallery, "diabetes", "features", "FP64", [row]).status_code == status


def test_a_tensor_without_a_range_accepts_any_number(gallery: str) -> None:
    assert infer(gallery, "toy", "x", "FP32", [-1e30, 1e30]).status_code == 200


def test_the_openapi_document_contains_the_range_and_the_metadata_does_not(gallery: str) -> None:
    document = requests.get(f"{gallery}/openapi.json", timeout=10).json()
    tensor = document["components"]["schemas"]["digits.InferRequest"]["properties"]["inputs"]["items"]
    elements = tensor["properties"]["data"]["anyOf"][0]["items"]
    assert elements == {"type": "number", "minimum": 0, "maximum": 16}
    metadata = requests.get(f"{gallery}/v2/models/digits", timeout=10).json()
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}]


class _Doubling(Handler):
    """Has no check of its own."""

    inputs: ClassVar = (Tensor("x", "FP64", (-1,), minimum=0),)
    outputs: ClassVar = (Tensor("y", "FP64", (-1,)),)

    def load(self, folder: Any) -> None:
        pass

    def preprocess(self, request: Any) -> dict[str, np.ndarray]:
        return {"x": np.array(request, dtype=float)}

    def inference(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": 2 * tensors["x"]}

    def postprocess(self, tensors: dict[str, np.ndarray]) -> Any:
        return tensors["y"].tolist()


def test_torchserve_rejects_what_is_outside_the_range() -> None:
    handler = _Doubling()
    assert handler.handle([{"body": [1, 2]}, {"body": [3]}]) == [[2, 4], [6]]
    for invalid in (-1, float("nan")):
        with pytest.raises(ValueError, match="x: each element must be"):
            handler.handle([{"body": [1, invalid]}])


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a version of nsmc that contains only the fast model."""
    with serving(workload_archive("nsmc", tmp_path_factory.mktemp("nsmc"), passes="1")) as server:
        yield server.url


def review(url: str, *fast: bool) -> requests.Response:
    """Send a text with each flag."""
    tensors = [
        {"name": "text", "datatype": "BYTES", "shape": [len(fast)], "data": ["a"] * len(fast)},
        {"name": "fast", "datatype": "BOOL", "shape": [len(fast)], "data": list(fast)},
    ]
    return post(f"{url}/v2/models/nsmc/infer", {"inputs": tensors})


def test_all_protocols_reject_a_model_that_the_version_lacks(reviews: str) -> None:
    for flags in ((False,), (True, False)):
        response = review(reviews, *flags)
        message = "input 'fast': this version has no deep model; send true"
        assert (response.status_code, response.json()) == (400, {"error": message})
    request = {"text": ["a"], "do_fast": False}
    v1 = post(f"{reviews}/v1/models/nsmc:predict", {"instances": [request]})
    for response in (post(f"{reviews}/predict/nsmc", request), v1):
        assert response.status_code == 400
        assert "this version has no deep model" in response.json()["error"]


def test_all_protocols_answer_a_model_that_the_version_contains(reviews: str) -> None:
    outputs = {output["name"]: output["data"] for output in review(reviews, True, True).json()["outputs"]}
    assert outputs["fast"] == [True, True]
    response = post(f"{reviews}/predict/nsmc", {"text": ["a"], "do_fast": True})
    assert response.json()["model"] == "fast"
    assert response.json()["predictions"][0]["probability"] == pytest.approx(outputs["probability"][0])
