"""Uploads are read by the handler's `read_image`, if it has this method."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from foreground import Server, serving
from toy_models import import_handler

from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.artifacts.handler_packaging import copy_handler
from workloads.schemas import one_or_many, picture

HANDLER = '''
import numpy as np


class InkHandler:
    """Returns the sum of the pixels. The text "ink 3" is an image file with a pixel of 3."""

    def load(self, folder):
        pass

    def read_image(self, content):
        if content == b"defect":
            raise KeyError("ink")
        if not content.startswith(b"ink "):
            raise ValueError("send an ink file")
        return [[int(content[4:]), 0], [0, 0]]

    def preprocess(self, request):
        images = [request["image"]] if "image" in request else request["images"]
        return {"image": np.array(images, dtype=np.float32)}

    def inference(self, tensors):
        return {"ink": tensors["image"].sum(axis=(1, 2))}

    def postprocess(self, tensors):
        return {"ink": tensors["ink"].tolist()}
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("ink")
    files = {"ink/__init__.py": "", "ink/handler.py": HANDLER}
    copy_handler(import_handler(folder / "source", files, "ink.handler", "InkHandler"), folder / "bundle")
    metadata = {
        "name": "ink",
        "handler": "ink.handler:InkHandler",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 2, 2]}],
        "outputs": [{"name": "ink", "datatype": "FP32", "shape": [-1]}],
        "request_schema": one_or_many("image", "images", picture(2, 2, 9)),
    }
    (folder / "bundle" / "model.json").write_text(json.dumps(metadata))
    golden = GoldenSet.from_json([{"request": {"image": [[1, 2], [3, 0]]}, "answer": {"ink": [6]}}])
    archive = archive_writer.write(folder / "bundle", folder / "store", golden=golden, provenance={})
    with serving(archive) as server:
        yield server


def test_uploads_have_the_images_of_the_handlers_reader(server: Server) -> None:
    url = f"{server.url}/predict/ink"
    single = requests.post(url, data=b"ink 3", headers={"content-type": "image/png"}, timeout=10)
    assert single.json() == {"ink": [3]}
    files = [("images", b"ink 4"), ("images", b"ink 5")]
    assert requests.post(url, files=files, timeout=10).json() == {"ink": [4, 5]}


def test_an_error_of_the_reader_is_that_of_the_request(server: Server) -> None:
    url, headers = f"{server.url}/predict/ink", {"content-type": "image/png"}
    response = requests.post(url, data=b"pencil", headers=headers, timeout=10)
    assert (response.status_code, response.json()) == (400, {"error": "send an ink file"})
    defect = requests.post(url, data=b"defect", headers=headers, timeout=10)
    assert defect.status_code == 500
