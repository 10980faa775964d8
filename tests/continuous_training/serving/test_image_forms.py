"""An uploaded picture gives the same response in all forms of the file, and a blank one is rejected."""

from __future__ import annotations

import numpy as np
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from continuous_training.artifacts.archive_writer import Archive, read_manifest
from continuous_training.serving.api.image_decoding import ImageFormat, decode_image
from continuous_training.serving.errors import RequestError
from tests.picture_files import blank_files, drawing, lossless_forms, low_depth_forms, save

DIGIT = ImageFormat(8, 8, 16, integers=True)


FORMATS = [DIGIT, ImageFormat(28, 28, 255, margin=4 / 28, centre="mass"), ImageFormat(28, 28, 1.0)]


@given(st.integers(0, 1000), st.integers(9, 1100), st.integers(9, 60), st.sampled_from(FORMATS))
@settings(max_examples=15, deadline=None)
def test_the_form_of_the_file_does_not_matter(seed: int, height: int, width: int, image: ImageFormat) -> None:
    grey = drawing(seed, height, width)
    files = {**lossless_forms(grey), "WebP": save(grey, "WEBP"), "BMP": save(grey, "BMP")}
    expected = decode_image(files["8 bits"], image)
    assert [name for name, content in files.items() if decode_image(content, image) != expected] == []


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("size", [8, 30, 200])
def test_low_bit_depths(depth: int, size: int) -> None:
    files = low_depth_forms(drawing(1, size, size), depth)
    expected = decode_image(files["8 bits"], DIGIT)
    assert [name for name, content in files.items() if decode_image(content, DIGIT) != expected] == []


def test_the_form_of_a_digital_image_of_the_models_size_does_not_matter() -> None:
    files = lossless_forms(drawing(2, 8, 8))
    scan = np.array(decode_image(files.pop("16 bits from a scanner"), DIGIT))
    expected = decode_image(files["8 bits"], DIGIT)
    assert [name for name, content in files.items() if decode_image(content, DIGIT) != expected] == []
    assert scan.min() == 0, "the paper of a scan is not white"
    assert np.abs(scan - expected).max() <= 1


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (1, 1), (1, 90)])
@pytest.mark.parametrize("name", blank_files(1, 1))
def test_blank_images_of_any_size_are_rejected(size: tuple[int, int], name: str) -> None:
    with pytest.raises(RequestError, match="the image is blank: no ink is visible"):
        decode_image(blank_files(*size)[name], DIGIT)


def test_uploads_of_one_digit_with_8_and_16_bits_have_the_same_response(
    gallery: str, archives: dict[str, Archive]
) -> None:
    url = f"{gallery}/predict/digits"
    for pair in list(read_manifest(archives["digits"].path).golden)[:5]:
        small = Image.fromarray((np.array(pair.request["image"]) / 16 * 255).astype(np.uint8))
        grey = 255 - np.asarray(small.resize((400, 400), Image.Resampling.BICUBIC))
        files = lossless_forms(grey)
        responses = {
            name: requests.post(url, files={"image": content}, timeout=30).json()
            for name, content in files.items()
        }
        assert [name for name, response in responses.items() if response != responses["8 bits"]] == []


@pytest.mark.parametrize("name", blank_files(1, 1))
def test_an_upload_of_a_blank_image_is_rejected(gallery: str, name: str) -> None:
    response = requests.post(
        f"{gallery}/predict/digits", files={"image": blank_files(8, 8)[name]}, timeout=30
    )
    assert response.status_code == 400
    assert "the image is blank" in response.json()["error"]
